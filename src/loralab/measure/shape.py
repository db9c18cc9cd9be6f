"""The subject's silhouette: a sub-pixel contour, its radial Fourier magnitudes, and the nearest of the drawn shapes' templates.

Fourier descriptors of the radial profile (Zahn & Roskies 1972 in spirit): magnitudes of the harmonics 1 to 12 of r(angle) / mean r do
not depend on place, size or rotation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from loralab.generators import make_mask
from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Confusion, Instrument, Measure, Reading, Taking, inverted, measured, negated, not_measurable, table_of
from loralab.measure.specimen import Specimen
from loralab.spec.models import SHAPES

N_ANGLES, N_HARMONICS = 128, 12
#: a silhouette farther than this from every template is "other"; set on round trips of drawn shapes and of emoji silhouettes
MOST_DISTANCE = 0.10
PRIMITIVES = ("circle", "square", "triangle")
#: a subject of which this share is a hole is a ring, whatever its silhouette
LEAST_HOLE = 0.08
LEAST_AREA_SHARE = 0.02


def outer_contour(picture: Picture) -> np.ndarray | None:
    """Return the longest closed contour (P, 2) of the subject at half contrast, in (row, column); None where there is none."""
    if picture.subject is None:
        return None
    padded = np.pad(ndimage.gaussian_filter(picture.distance, 0.6 * picture.px), 1)
    contours = [c for c in find_contours(padded, picture.level) if np.allclose(c[0], c[-1])]
    if not contours:
        return None
    return np.asarray(max(contours, key=_area)) - 1


def _area(contour: np.ndarray) -> float:
    y, x = contour[:, 0], contour[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)


def radial_magnitudes(contour: np.ndarray) -> np.ndarray:
    """Return the magnitudes (12,) of the harmonics 1 to 12 of the radial profile, relative to the mean radius."""
    y, x = contour[:-1, 0], contour[:-1, 1]
    cy, cx = _centroid(contour)
    angles, radii = np.arctan2(y - cy, x - cx), np.hypot(y - cy, x - cx)
    bins = np.floor((angles + np.pi) / (2 * np.pi) * N_ANGLES).astype(int) % N_ANGLES
    profile = np.zeros(N_ANGLES)
    np.maximum.at(profile, bins, radii)  # the outermost crossing of each ray
    known = np.flatnonzero(profile)
    profile = np.interp(np.arange(N_ANGLES), known, profile[known], period=N_ANGLES)
    spectrum = np.abs(np.fft.rfft(profile / profile.mean())) / N_ANGLES * 2
    return np.asarray(spectrum[1 : N_HARMONICS + 1])


def _centroid(contour: np.ndarray) -> tuple[float, float]:
    """Return the centre of mass (row, column) of the area inside a closed contour."""
    y, x = contour[:, 0], contour[:, 1]
    cross = x[:-1] * y[1:] - x[1:] * y[:-1]
    area = cross.sum() / 2
    if abs(area) < 1e-9:
        return float(y.mean()), float(x.mean())
    return float(((y[:-1] + y[1:]) * cross).sum() / (6 * area)), float(((x[:-1] + x[1:]) * cross).sum() / (6 * area))


@cache
def templates() -> dict[str, np.ndarray]:
    """Return the magnitudes of every drawn shape, from a large clean drawing."""
    found = {}
    for shape in SHAPES:
        mask = ndimage.gaussian_filter(make_mask(shape, (0.5, 0.5), 0.8, 256).astype(np.float64), 4.0)
        contour = max(find_contours(mask, 0.5), key=_area)
        found[shape] = radial_magnitudes(np.asarray(contour))
    return found


def classify(picture: Picture) -> str | None:
    """Return the name of the drawn shape nearest to the subject's silhouette, "other", or None where there is no silhouette."""
    if "shape" not in picture.memo:
        picture.memo["shape"] = _classify(picture)
    found = picture.memo["shape"]
    return found if found is None else str(found)


def _classify(picture: Picture) -> str | None:
    contour = outer_contour(picture)
    if contour is None or picture.subject is None:
        return None
    if len(contour) < 12 or _area(contour) < 0.5 * LEAST_AREA_SHARE * picture.size_px**2:
        return "other"
    return classify_contour(contour, _hole_share(picture.subject))


def classify_contour(contour: np.ndarray, hole_share: float) -> str:
    """Return the class of a contour with a hole of ``hole_share`` of its area."""
    magnitudes = radial_magnitudes(contour)
    apart = {shape: float(np.linalg.norm(magnitudes - template)) for shape, template in templates().items() if shape != "ring"}
    best = min(apart, key=lambda shape: apart[shape])
    if apart[best] > MOST_DISTANCE:
        return "other"
    return "ring" if best == "circle" and hole_share > LEAST_HOLE else best


def _hole_share(subject: np.ndarray) -> float:
    filled = ndimage.binary_fill_holes(subject)
    assert filled is not None
    return float(1 - subject.sum() / filled.sum())


def _measure_class(picture: Picture, wanted: tuple[str, ...]) -> Reading:
    found = classify(picture)
    if found is None:
        return not_measurable("no subject stands out from the background")
    return measured(float(found in wanted))


def measure_circle(picture: Picture, _: Context) -> Reading:
    """Return 1 where the silhouette is a circle, else 0."""
    return _measure_class(picture, ("circle",))


def measure_square(picture: Picture, _: Context) -> Reading:
    """Return 1 where the silhouette is a square, else 0."""
    return _measure_class(picture, ("square",))


def measure_triangle(picture: Picture, _: Context) -> Reading:
    """Return 1 where the silhouette is a triangle, else 0."""
    return _measure_class(picture, ("triangle",))


def measure_primitive(picture: Picture, _: Context) -> Reading:
    """Return 1 where the silhouette is a circle, a square or a triangle, else 0."""
    return _measure_class(picture, PRIMITIVES)


def measure_circle_excess(picture: Picture, _: Context) -> Reading:
    """Return 1 for a circle, -1/2 for a square or triangle, else 0: the mean is circles minus the mean of squares and triangles."""
    found = classify(picture)
    if found is None:
        return not_measurable("no subject stands out from the background")
    return measured({"circle": 1.0, "square": -0.5, "triangle": -0.5}.get(found, 0.0))


SHAPE_CONFUSION = Confusion(lambda specimen: str(specimen.factors["shape"]), lambda picture: classify(picture) or "not measurable")


def shape_row(word: str) -> Instrument | None:
    """Return the instrument of one drawn shape; None for another word."""
    if word not in SHAPES:
        return None

    def measure(picture: Picture, _: Context) -> Reading:
        return _measure_class(picture, (word,))

    def truth(specimen: Specimen) -> float | None:
        return float(specimen.factors["shape"] == word) if "shape_circle" in specimen.truth else None

    return _class_row(f"shape[{word}]", f"is the subject's silhouette a {word}?", measure, f"{word}s", 1, ("shape",), truth)


def _class_row(
    name: str, says: str, measure: Measure, plural: str, version: int = 2, follows: tuple[str, ...] = ("shape",),
    truth: Callable[[Specimen], float | None] | None = None,
) -> Instrument:  # fmt: skip
    return Instrument(
        name, "share", 0, 1, "share", says, 20, measure, version, lower=f"fewer {plural}", higher=f"more {plural}", twin=inverted,
        truth=truth, follows=follows, confusion=SHAPE_CONFUSION,
    )  # fmt: skip


SHAPE = Taking(
    "shape", "SHAPE", f"one of {', '.join(SHAPES)}", "is the subject's silhouette this shape?", shape_row, ("hexagon", "ring", "circle")
)
TABLE = table_of(
    _class_row("shape_circle", "is the subject's silhouette a circle?", measure_circle, "circles"),
    _class_row("shape_square", "is the subject's silhouette a square?", measure_square, "squares"),
    _class_row("shape_triangle", "is the subject's silhouette a triangle?", measure_triangle, "triangles"),
    _class_row("shape_primitive", "is the silhouette a circle, a square or a triangle?", measure_primitive, "simple shapes", follows=()),
    Instrument(
        "circle_excess", "share", -0.5, 1, "share", "circles minus the mean of squares and triangles (1, -1/2 or 0)", 20,
        measure_circle_excess, 2,
        lower="fewer circles", higher="more circles", twin=negated, follows=("shape",), confusion=SHAPE_CONFUSION,
    ),
)  # fmt: skip

"""A dark line round the subject, looked for along the normals of its contour."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, inverted, measured, not_measurable, table_of
from loralab.measure.shape import outer_contour

#: the line is looked for from 1 px outside to 5 px inside the contour; inside and outside are read beyond that (px of a 64 px picture)
BAND_PX = np.arange(-1.0, 5.5, 0.5)
INSIDE_PX, OUTSIDE_PX = 8.0, -4.0
#: the line must be darker (L*) than both sides by this much
LEAST_DIP = 10.0


def measure_outline(picture: Picture, _: Context) -> Reading:
    """Return the share of the contour along which luminance dips below both the subject's inside and the background."""
    contour = outer_contour(picture)
    if contour is None or len(contour) < 24:
        return not_measurable("no subject stands out from the background")
    points, normals = _inward_normals(contour)

    def lightness(offset: float) -> np.ndarray:
        where = points + normals * offset * picture.px
        return np.asarray(ndimage.map_coordinates(picture.lab[:, :, 0], where.T, order=1, mode="nearest"))

    darkest = np.min([lightness(offset) for offset in BAND_PX], axis=0)
    sides = np.minimum(lightness(INSIDE_PX), lightness(OUTSIDE_PX))
    return measured(float((sides - darkest > LEAST_DIP).mean()))


def _inward_normals(contour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (points (P, 2), unit normals (P, 2) pointing inwards) of a closed contour, tangents taken over five points."""
    points = contour[:-1]
    tangent = np.roll(points, -2, axis=0) - np.roll(points, 2, axis=0)
    normals = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    inwards = ((points.mean(axis=0) - points) * normals).sum(axis=1).mean() > 0
    return points, normals if inwards else -normals


TABLE = table_of(
    Instrument(
        "outline_dark", "share", 0, 1, "continuous", "share of the subject's contour that is a dark line", 20, measure_outline, 2,
        lower="less dark outline", higher="more dark outline", twin=inverted, follows=(),
    ),
)  # fmt: skip

"""Specimens: pictures of which the truth of every instrument is known because they were drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab

from loralab.generators import make_mask
from loralab.measure.arrangements import make_arrangements
from loralab.measure.colour import GREY_CHROMA
from loralab.measure.comparison import COARSE_PX, MOST_SHIFT, coarse
from loralab.measure.layouts import NO_GRID, make_layouts
from loralab.measure.runs import make_runs
from loralab.measure.specimen import Specimen, alone, drawn, lab_of
from loralab.spec.models import COLOURS, SHAPES

#: an anti-aliased edge is this wide (sigma, px of 64) before any blur
SHARP_SIGMA = 0.1
#: the colours of the shared pictures, whatever joins the palette later: cards that were made rest on these very pictures
SPECIMEN_COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "grey")


def make_specimens(size_px: int, seed: int = 0) -> list[Specimen]:
    """Return the specimens for pictures of ``size_px``: shapes, outlines, blurs, depth of field, layouts, arrangements, runs."""
    rng = np.random.default_rng(seed)
    plain = (_coloured_shapes, _shapes_by_size_and_blur, _shapes_on_ramps, _outlines)
    made = [specimen for maker in plain for specimen in maker(size_px)]
    return [*made, *_depths_of_field(size_px, rng), *make_layouts(size_px, rng), *make_arrangements(size_px), *make_runs(size_px)]


def make_nuisances(size_px: int) -> list[Specimen]:
    """Return shapes with every combination of shape, fill, size and blur once, so that each factor can be told from the others."""
    made = []
    for shape, fill, size, blur in product(("circle", "square", "triangle"), ("red", "green", "blue"), (0.6, 0.75), (0.0, 1.0, 2.0)):
        image = drawn(size_px, shapes=[shape], fill=fill, size=size, blur=blur)
        made.append(alone(image, {}, {"shape": shape, "fill": fill, "size": size, "blur": blur}))
    return made


def _colour_truth(fill: str, background: str) -> dict[str, float]:
    subject, behind = lab_of(fill), lab_of(background)
    chroma, back_chroma = float(np.hypot(*subject[1:])), float(np.hypot(*behind[1:]))
    return {
        "chroma": chroma, "grey_share": float(chroma < GREY_CHROMA), "hue_red": float(fill == "red"), "hue_green": float(fill == "green"),
        "hue_blue": float(fill == "blue"), "background_white": float(background == "white"), "background_lightness": float(behind[0]),
        "background_chroma": back_chroma, "background_from_white": float(np.linalg.norm(behind - lab_of("white"))),
    }  # fmt: skip


def _shape_truth(shape: str, extent: float) -> dict[str, float]:
    area = float(make_mask(shape, (0.5, 0.5), extent, 256).mean())
    return NO_GRID | {
        "shape_circle": float(shape == "circle"), "shape_square": float(shape == "square"), "shape_triangle": float(shape == "triangle"),
        "shape_primitive": float(shape in ("circle", "square", "triangle")), "object_count": 1.0, "foreground_share": area,
        "circle_excess": {"circle": 1.0, "square": -0.5, "triangle": -0.5}.get(shape, 0.0),
    }  # fmt: skip


def _comparison_truth(image: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return the truth of what compares two clean pictures; the round trip of the first is what is measured."""
    one, two = rgb2lab(image.astype(np.float64) / 255), rgb2lab(other.astype(np.float64) / 255)
    return {
        "change": float(deltaE_ciede2000(one, two).mean()),
        "copy_distance": _least_distance(coarse(one), coarse(two)),
        "local_contrast": _local_contrast(one[:, :, 0], image.shape[0]),
    }


def _least_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the least mean deltaE76 over shifts, by trying each."""
    m, n = MOST_SHIFT, COARSE_PX - 2 * MOST_SHIFT
    inner = one[m : m + n, m : m + n]
    return min(
        float(np.linalg.norm(inner - other[dy : dy + n, dx : dx + n], axis=-1).mean()) for dy in range(2 * m + 1) for dx in range(2 * m + 1)
    )


def _local_contrast(lightness: np.ndarray, size_px: int) -> float:
    size = max(3, round(7 * size_px / 64))
    mean = ndimage.uniform_filter(lightness, size)
    return float(np.sqrt(np.maximum(ndimage.uniform_filter(lightness**2, size) - mean**2, 0)).mean())


def _coloured_shapes(size_px: int) -> Iterator[Specimen]:
    """Yield shapes in every fill colour, each on white and on five or six other colours."""
    names = list(SPECIMEN_COLOURS)
    pairs = [(fill, names[(i + k) % len(names)]) for i, fill in enumerate(names) for k in (1, 3, 5, 7, 9)]
    pairs += [(fill, "white") for fill in names if fill != "white" and (fill, "white") not in pairs]
    for number, (fill, background) in enumerate(pairs):
        shape = SHAPES[number % len(SHAPES)]
        image = drawn(size_px, shapes=[shape], fill=fill, background=background, size=0.72)
        other = drawn(size_px, shapes=[shape], fill=fill, background="white", size=0.72 if number % 3 else 0.5)
        truth = _colour_truth(fill, background) | _comparison_truth(image, other)
        yield Specimen(image, other, other, truth, {"fill": fill, "background": background})


def _shapes_by_size_and_blur(size_px: int) -> Iterator[Specimen]:
    fills = ("grey", "red", "green", "blue")
    for number, (shape, size, blur) in enumerate(product(SHAPES, (0.45, 0.6, 0.75), (0.0, 1.0, 2.0, 3.0))):
        # shifted by one each round of four, so that no fill goes with one blur only
        fill = fills[(number + number // 4) % 4]
        image = drawn(size_px, shapes=[shape], fill=fill, size=size, blur=blur)
        truth = _shape_truth(shape, size) | {"edge_sigma": float(np.hypot(SHARP_SIGMA, blur))}
        yield alone(image, truth, {"shape": shape, "size": size, "blur": blur, "fill": fill})


def _shapes_on_ramps(size_px: int) -> Iterator[Specimen]:
    """Yield shapes on a background that runs from one colour to another, downwards or upwards."""
    ramps = (("white", "blue", "red"), ("yellow", "green", "purple"), ("cyan", "pink", "black"), ("black", "grey", "yellow"))
    for shape, (first, last, fill), upwards in product(SHAPES, ramps, (False, True)):
        share = np.linspace(0, 1, size_px)[:: -1 if upwards else 1, None, None]
        behind = (1 - share) * np.array(COLOURS[first]) + share * np.array(COLOURS[last])
        inside = make_mask(shape, (0.5, 0.5), 0.7, 4 * size_px).reshape(size_px, 4, size_px, 4).mean(axis=(1, 3))[..., None]
        image = (inside * np.array(COLOURS[fill]) + (1 - inside) * behind).round().astype(np.uint8)
        yield alone(image, _shape_truth(shape, 0.7), {"shape": shape, "size": 0.7, "background": "ramp"})


def _outlines(size_px: int) -> Iterator[Specimen]:
    for shape, fill, size, outlined in product(
        ("circle", "square", "triangle", "heart"), ("red", "green", "blue", "yellow"), (0.6, 0.75), (0, 1)
    ):
        image = drawn(size_px, shapes=[shape], fill=fill, size=size, outline="black" if outlined else None)
        yield alone(image, {"outline_dark": float(outlined)}, {"shape": shape, "fill": fill, "size": size})


def _depths_of_field(size_px: int, rng: np.random.Generator) -> Iterator[Specimen]:
    """Yield a shape on a pattern, each at three blurs; the truth is by how much the two differ. Such a pattern is no grid."""
    for number, (subject_blur, behind_blur) in enumerate(product((0.0, 1.5, 3.0), (0.0, 1.5, 3.0))):
        for repeat in range(4):
            colours = [str(name) for name in rng.permutation([name for name in SPECIMEN_COLOURS if name not in ("white", "grey")])[:3]]
            image = _shape_on_pattern(size_px, SHAPES[(number + repeat) % 3], colours, subject_blur, behind_blur)
            truth = NO_GRID | {"depth_of_field": abs(behind_blur - subject_blur)}
            factors: dict[str, str | float] = {"subject blur": subject_blur, "background blur": behind_blur, "layout": "checkered"}
            yield alone(image, truth, factors)


def _shape_on_pattern(size_px: int, shape: str, colours: list[str], subject_blur: float, behind_blur: float) -> np.ndarray:
    px = size_px / 64
    mask = make_mask(shape, (0.5, 0.5), 0.6, size_px).astype(np.float64)[..., None]
    soft = ndimage.gaussian_filter(mask, (max(0.4, subject_blur) * px, max(0.4, subject_blur) * px, 0))
    blurred = ndimage.gaussian_filter(_pattern(size_px, colours[0], colours[1]), (behind_blur * px, behind_blur * px, 0))
    return np.asarray((soft * np.array(COLOURS[colours[2]]) + (1 - soft) * blurred).round().astype(np.uint8))


def _pattern(size_px: int, one: str, other: str) -> np.ndarray:
    y, x = np.mgrid[:size_px, :size_px] * 4 // size_px
    odd = ((x + y) % 2)[..., None]
    return np.asarray(odd * np.array(COLOURS[one], dtype=np.float64) + (1 - odd) * np.array(COLOURS[other], dtype=np.float64))

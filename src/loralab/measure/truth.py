"""Specimens: pictures of which the truth of every instrument is known because they were drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab

from loralab.data import make_examples
from loralab.data.shapes import make_mask
from loralab.measure.colour import GREY_CHROMA
from loralab.measure.comparison import coarse
from loralab.spec.models import COLOURS, SHAPES, GridsData, ShapesData

#: an anti-aliased edge is this wide (sigma, px of 64) before any blur
SHARP_SIGMA = 0.1


@dataclass(frozen=True)
class Specimen:
    """A picture (H, W, 3) uint8 with the truth of the instruments that can be held against it, and the factors that were varied."""

    image: np.ndarray
    base_image: np.ndarray
    training_image: np.ndarray
    truth: dict[str, float]
    factors: dict[str, str | float] = field(default_factory=dict)


def make_specimens(size_px: int) -> list[Specimen]:
    """Return the specimens for pictures of ``size_px``: shapes, outlines, blurs, depth of field, grids."""
    makers = (_coloured_shapes, _shapes_by_size_and_blur, _outlines, _depths_of_field, _grids)
    return [specimen for maker in makers for specimen in maker(size_px)]


def _draw(size_px: int, **given: object) -> np.ndarray:
    spec = ShapesData.model_validate({"generate": "shapes", **given})
    return make_examples(spec, size_px)[0].image


def _lab(name: str) -> np.ndarray:
    return np.asarray(rgb2lab(np.array(COLOURS[name], dtype=np.float64)[None, None] / 255)[0, 0])


def _colour_truth(fill: str, background: str) -> dict[str, float]:
    subject, behind = _lab(fill), _lab(background)
    chroma, back_chroma = float(np.hypot(*subject[1:])), float(np.hypot(*behind[1:]))
    return {
        "chroma": chroma, "grey_share": float(chroma < GREY_CHROMA), "hue_red": float(fill == "red"), "hue_green": float(fill == "green"),
        "hue_blue": float(fill == "blue"), "background_white": float(background == "white"), "background_lightness": float(behind[0]),
        "background_chroma": back_chroma, "background_from_white": float(np.linalg.norm(behind - _lab("white"))),
    }  # fmt: skip


def _shape_truth(shape: str, extent: float) -> dict[str, float]:
    area = float(make_mask(shape, (0.5, 0.5), extent, 256).mean())
    return {
        "shape_circle": float(shape == "circle"), "shape_square": float(shape == "square"), "shape_triangle": float(shape == "triangle"),
        "shape_primitive": float(shape in ("circle", "square", "triangle")), "object_count": 1.0, "foreground_share": area,
        "circle_excess": {"circle": 1.0, "square": -0.5, "triangle": -0.5}.get(shape, 0.0), "grid_present": 0.0, "grid_beyond": 0.0,
    }  # fmt: skip


def _comparison_truth(image: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return the truth of what compares two clean pictures; the round trip of the first is what is measured."""
    one, two = rgb2lab(image.astype(np.float64) / 255), rgb2lab(other.astype(np.float64) / 255)
    return {
        "change": float(deltaE_ciede2000(one, two).mean()),
        "copy_distance": float(np.sqrt(((coarse(one) - coarse(two)) ** 2).sum(axis=-1)).mean()),
        "local_contrast": _local_contrast(one[:, :, 0], image.shape[0]),
    }


def _local_contrast(lightness: np.ndarray, size_px: int) -> float:
    size = max(3, round(7 * size_px / 64))
    mean = ndimage.uniform_filter(lightness, size)
    return float(np.sqrt(np.maximum(ndimage.uniform_filter(lightness**2, size) - mean**2, 0)).mean())


def _coloured_shapes(size_px: int) -> Iterator[Specimen]:
    """Yield shapes in every pair of fill and background colour that differ, two shapes a pair in turn."""
    pairs = [
        (fill, background) for fill, background in product(COLOURS, ("white", "grey", "blue", "yellow", "black")) if fill != background
    ]
    for number, (fill, background) in enumerate(pairs):
        shape = SHAPES[number % len(SHAPES)]
        image = _draw(size_px, shapes=[shape], fill=fill, background=background, size=0.72)
        other = _draw(size_px, shapes=[shape], fill=fill, background="white", size=0.72 if number % 3 else 0.5)
        truth = _colour_truth(fill, background) | _comparison_truth(image, other)
        yield Specimen(image, other, other, truth, {"fill": fill, "background": background})


def _shapes_by_size_and_blur(size_px: int) -> Iterator[Specimen]:
    fills = ("grey", "red", "green", "blue")
    for number, (shape, size, blur) in enumerate(product(SHAPES, (0.45, 0.6, 0.75), (0.0, 1.0, 2.0, 3.0))):
        image = _draw(size_px, shapes=[shape], fill=fills[number % 4], size=size, blur=blur)
        truth = _shape_truth(shape, size) | {"edge_sigma": float(np.hypot(SHARP_SIGMA, blur))}
        yield Specimen(image, image, image, truth, {"shape": shape, "size": size, "blur": blur})


def _outlines(size_px: int) -> Iterator[Specimen]:
    for shape, fill, size, outlined in product(
        ("circle", "square", "triangle", "heart"), ("red", "green", "blue", "yellow"), (0.6, 0.75), (0, 1)
    ):
        image = _draw(size_px, shapes=[shape], fill=fill, size=size, outline="black" if outlined else None)
        yield Specimen(image, image, image, {"outline_dark": float(outlined)}, {"shape": shape, "fill": fill, "size": size})


def _depths_of_field(size_px: int) -> Iterator[Specimen]:
    """Yield a shape on a pattern: each at three blurs; the truth is by how much the pattern is softer than the shape."""
    rng = np.random.default_rng(0)
    for number, (subject_blur, behind_blur) in enumerate(product((0.0, 1.5, 3.0), (0.0, 1.5, 3.0))):
        for repeat in range(4):
            colours = rng.permutation([name for name in COLOURS if name not in ("white", "grey")])
            behind = _pattern(size_px, str(colours[0]), str(colours[1]))
            fill, shape = str(colours[2]), SHAPES[(number + repeat) % 3]
            mask = make_mask(shape, (0.5, 0.5), 0.6, size_px).astype(np.float64)[..., None]
            px = size_px / 64
            soft = ndimage.gaussian_filter(mask, (max(0.4, subject_blur) * px, max(0.4, subject_blur) * px, 0))
            blurred = ndimage.gaussian_filter(behind, (behind_blur * px, behind_blur * px, 0))
            image = (soft * np.array(COLOURS[fill]) + (1 - soft) * blurred).round().astype(np.uint8)
            truth = {"depth_of_field": max(0.0, behind_blur - subject_blur)}
            yield Specimen(image, image, image, truth, {"subject blur": subject_blur, "background blur": behind_blur})


def _pattern(size_px: int, one: str, other: str) -> np.ndarray:
    y, x = np.mgrid[:size_px, :size_px] * 4 // size_px
    odd = ((x + y) % 2)[..., None]
    return np.asarray(odd * np.array(COLOURS[one], dtype=np.float64) + (1 - odd) * np.array(COLOURS[other], dtype=np.float64))


def _grids(size_px: int) -> Iterator[Specimen]:
    """Yield line grids of 2 to 6 rows and columns; pictures that are no grid come from the shapes."""
    for columns, rows, (line, behind) in product(range(2, 7), range(2, 7), (("black", "white"), ("red", "yellow"))):
        spec = GridsData.model_validate({"generate": "grids", "sizes": [f"{columns}x{rows}"], "line": line, "background": behind})
        image = make_examples(spec, size_px)[0].image
        truth = {
            "grid_present": 1.0, "grid_beyond": float(max(columns, rows) > 4), "grid_rows": float(rows), "grid_columns": float(columns),
            "grid_cells": float(rows * columns),
        }  # fmt: skip
        yield Specimen(image, image, image, truth, {"finest": max(columns, rows), "line": line})

"""Drawn shapes with known geometry: a spec and a size in, one anti-aliased picture a shape out."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import distance_transform_edt

from loralab.data.example import Example, Factor
from loralab.spec.models import COLOURS, ShapesData

#: pictures are drawn this much larger and averaged down
SUPERSAMPLING = 8
#: widths and blur are stated for a picture of this size and grow with it
REFERENCE_PX = 64
RING_HOLE = 0.5

Point = tuple[float, float]
Outline = list[Point]

#: the cross, a quarter at a time: signs of x and y, and the quarter's corners in drawing order
_CROSS_QUARTERS = (
    (1, -1, ((0.3, 1.0), (0.3, 0.3), (1.0, 0.3))),
    (1, 1, ((1.0, 0.3), (0.3, 0.3), (0.3, 1.0))),
    (-1, 1, ((0.3, 1.0), (0.3, 0.3), (1.0, 0.3))),
    (-1, -1, ((1.0, 0.3), (0.3, 0.3), (0.3, 1.0))),
)


def make_shapes(spec: ShapesData, size_px: int) -> list[Example]:
    """Return one example a shape, (size_px, size_px, 3) uint8; the factors are the drawn truth, lengths as shares of the side."""
    fills = spec.fill if isinstance(spec.fill, tuple) else (spec.fill,) * len(spec.shapes)
    return [_make_shape(spec, shape, fill, size_px) for shape, fill in zip(spec.shapes, fills, strict=True)]


def _make_shape(spec: ShapesData, shape: str, fill: str, size_px: int) -> Example:
    side = size_px * SUPERSAMPLING
    inside = make_mask(shape, spec.position, spec.size, side)
    canvas = Image.new("RGB", (side, side), COLOURS[spec.background])
    canvas.paste(COLOURS[spec.outline or fill], mask=Image.fromarray(inside))
    if spec.outline is not None:
        # by distance from the edge, so that the outline is as wide at a corner as along a side
        core = distance_transform_edt(inside) > spec.outline_px / REFERENCE_PX * side
        canvas.paste(COLOURS[fill], mask=Image.fromarray(core))
    factors: dict[str, Factor] = {
        "shape": shape, "fill": fill, "outline": spec.outline or "none", "background": spec.background, "size": spec.size,
        "x": spec.position[0], "y": spec.position[1], "blur": spec.blur,
    }  # fmt: skip
    return Example(finish(canvas, size_px, spec.blur), f"{fill} {shape}", factors, "generated")


def make_mask(shape: str, centre: Point, extent: float, side: int) -> np.ndarray:
    """Return the pixels (side, side) bool of a shape whose bounding square has the side ``extent`` (share of the picture)."""
    mask = Image.new("1", (side, side), 0)
    draw, half = ImageDraw.Draw(mask), extent / 2
    if shape in ("circle", "ring"):
        _disc(draw, centre, half, side, 1)
        if shape == "ring":
            _disc(draw, centre, half * RING_HOLE, side, 0)
    else:
        draw.polygon([((centre[0] + half * x) * side, (centre[1] + half * y) * side) for x, y in unit_outline(shape)], fill=1)
    return np.asarray(mask)


def _disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, side: int, value: int) -> None:
    x, y, r = centre[0] * side, centre[1] * side, radius * side
    draw.ellipse((x - r, y - r, x + r - 1, y + r - 1), fill=value)


def finish(image: Image.Image, size_px: int, blur: float) -> np.ndarray:
    """Return a supersampled drawing as (size_px, size_px, 3) uint8, blurred by ``blur`` px of a 64 px picture."""
    small = image.resize((size_px, size_px), Image.Resampling.BOX)
    if blur > 0:
        small = small.filter(ImageFilter.GaussianBlur(blur * size_px / REFERENCE_PX))
    return np.asarray(small)


def unit_outline(shape: str) -> Outline:
    """Return the corners of a shape inside the square from -1 to 1, y downwards; raises KeyError for a shape without corners."""
    return {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0.0, -0.88), (1.0, 0.85), (-1.0, 0.85)],
        "diamond": [(0.0, -1.0), (0.75, 0.0), (0.0, 1.0), (-0.75, 0.0)],
        "hexagon": [(math.cos(math.radians(60 * k)), math.sin(math.radians(60 * k))) for k in range(6)],
        "star": [_star_point(k) for k in range(10)],
        "heart": [_heart_point(2 * math.pi * k / 120) for k in range(120)],
        "cross": [(s * x, t * y) for s, t, corners in _CROSS_QUARTERS for x, y in corners],
    }[shape]  # fmt: skip


def _star_point(k: int) -> Point:
    radius = 1.0 if k % 2 == 0 else 0.42
    angle = math.radians(36 * k - 90)
    return radius * math.cos(angle), radius * math.sin(angle)


def _heart_point(t: float) -> Point:
    """Return a point of the usual parametric heart, scaled into the unit square."""
    x = 16 * math.sin(t) ** 3
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return x / 17, -(y + 2.5) / 15

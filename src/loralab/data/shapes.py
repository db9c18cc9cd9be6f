"""Drawn shapes with known geometry: a spec and a size in, one anti-aliased picture a shape out."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from loralab.data.example import Example
from loralab.spec.models import COLOURS, ShapesData

#: pictures are drawn this much larger and averaged down
SUPERSAMPLING = 8
#: widths and blur are stated for a picture of this size and grow with it
REFERENCE_PX = 64

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
    image = Image.new("RGB", (side, side), COLOURS[spec.background])
    draw = ImageDraw.Draw(image)
    if spec.outline is None:
        _fill(draw, shape, spec.position, spec.size, side, COLOURS[fill], COLOURS[spec.background])
    else:
        width = 2 * spec.outline_px / REFERENCE_PX
        _fill(draw, shape, spec.position, spec.size, side, COLOURS[spec.outline], COLOURS[spec.background])
        _fill(draw, shape, spec.position, spec.size - _shrink(shape, width), side, COLOURS[fill], COLOURS[spec.background], inner=True)
    factors = {
        "shape": shape, "fill": fill, "outline": spec.outline or "none", "background": spec.background, "size": spec.size,
        "x": spec.position[0], "y": spec.position[1], "blur": spec.blur,
    }  # fmt: skip
    return Example(finish(image, size_px, spec.blur), f"{fill} {shape}", factors, "generated")


def finish(image: Image.Image, size_px: int, blur: float) -> np.ndarray:
    """Return a supersampled drawing as (size_px, size_px, 3) uint8, blurred by ``blur`` px of a 64 px picture."""
    small = image.resize((size_px, size_px), Image.Resampling.BOX)
    if blur > 0:
        small = small.filter(ImageFilter.GaussianBlur(blur * size_px / REFERENCE_PX))
    return np.asarray(small)


def _shrink(shape: str, width: float) -> float:
    """Return by how much a shape's extent shrinks when ``width`` is taken off all round: corners lose more than edges."""
    corners = {"triangle": 2.0 * 0.866, "star": 2.2, "diamond": math.sqrt(2), "heart": 1.25, "hexagon": 1.155}
    return width * corners.get(shape, 1.0)


def _fill(
    draw: ImageDraw.ImageDraw, shape: str, centre: Point, extent: float, side: int, colour: tuple[int, int, int],
    background: tuple[int, int, int], inner: bool = False,
) -> None:  # fmt: skip
    """Draw one filled shape whose bounding square has the side ``extent`` (share of the picture)."""
    half = extent / 2
    if shape in ("circle", "ring"):
        _disc(draw, centre, half, side, colour)
        if shape == "ring":
            hole = half * 0.55
            _disc(draw, centre, hole if not inner else hole + extent * 0.06, side, background if not inner else colour)
            if inner:
                _disc(draw, centre, hole, side, background)
        return
    draw.polygon([((centre[0] + half * x) * side, (centre[1] + half * y) * side) for x, y in unit_outline(shape)], fill=colour)


def _disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, side: int, colour: tuple[int, int, int]) -> None:
    x, y, r = centre[0] * side, centre[1] * side, radius * side
    draw.ellipse((x - r, y - r, x + r - 1, y + r - 1), fill=colour)


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

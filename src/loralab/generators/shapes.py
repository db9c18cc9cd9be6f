"""Drawn shapes with known geometry: what a study may ask of them, what is true of each, and one anti-aliased picture a shape."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field, model_validator

from loralab.generators.colours import COLOURS, Colour
from loralab.generators.drawing import REFERENCE_PX, SUPERSAMPLING, finish
from loralab.generators.generator import Factors, Generated, Generator

SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross")
#: what can be drawn: those, which petri and the instruments know, and one that its mirror image is not
Shape = Literal["circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross", "flag"]
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


#: a place as a share of the image side
Place = Annotated[float, Field(ge=0, le=1)]


class ShapesData(Generated):
    """One image a shape, drawn with known geometry."""

    generate: Literal["shapes"]
    shapes: tuple[Shape, ...] = Field(min_length=1, description="The shapes to draw, one image each.")
    fill: Colour | tuple[Colour, ...] = Field("grey", description="Fill colour: one for all shapes, or one for each.")
    outline: Colour | None = Field(None, description="Colour of the outline; no outline if left out.")
    outline_px: float = Field(3.0, gt=0, le=12, description="Width of the outline in pixels of a 64 px image.")
    background: Colour = Field("white", description="Background colour.")
    size: float = Field(0.7, gt=0.1, le=1, description="Size of the shape as a share of the image side.")
    position: tuple[Place, Place] = Field((0.5, 0.5), description="Centre (x, y) as shares of the image side.")
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) of the whole image.")

    @model_validator(mode="after")
    def _one_fill_each(self) -> ShapesData:
        if isinstance(self.fill, tuple) and len(self.fill) != len(self.shapes):
            raise ValueError(
                f"fill lists {len(self.fill)} colours for {len(self.shapes)} shapes; give one colour for all, or one for each shape"
            )
        return self


def shape_factors(spec: ShapesData) -> list[Factors]:
    """Return the drawn truth of each shape; lengths are shares of the side."""
    fills = spec.fill if isinstance(spec.fill, tuple) else (spec.fill,) * len(spec.shapes)
    return [
        {"shape": shape, "fill": fill, "outline": spec.outline or "none", "background": spec.background, "size": spec.size,
         "x": spec.position[0], "y": spec.position[1], "blur": spec.blur}
        for shape, fill in zip(spec.shapes, fills, strict=True)
    ]  # fmt: skip


def draw_shape(spec: ShapesData, factors: Factors, size_px: int) -> np.ndarray:
    """Return the picture of one shape, (size_px, size_px, 3) uint8."""
    return draw_one(factors, spec.outline_px, size_px)


def draw_one(factors: Factors, outline_px: float, size_px: int) -> np.ndarray:
    """Return the picture of which ``factors`` are true, (size_px, size_px, 3) uint8."""
    side = size_px * SUPERSAMPLING
    inside, fill, outline = _inside(factors, side), str(factors["fill"]), str(factors["outline"])
    canvas = Image.new("RGB", (side, side), COLOURS[str(factors["background"])])
    canvas.paste(COLOURS[fill if outline == "none" else outline], mask=Image.fromarray(inside))
    if outline != "none":
        from scipy.ndimage import distance_transform_edt  # slow to import, and studies are read without it

        # by distance from the edge, so that the outline is as wide at a corner as along a side
        core = distance_transform_edt(inside) > outline_px / REFERENCE_PX * side
        canvas.paste(COLOURS[fill], mask=Image.fromarray(core))
    return finish(canvas, size_px, float(factors["blur"]))


def mask_shape(_: ShapesData, factors: Factors, size_px: int) -> np.ndarray:
    """Return where one shape is, (size_px, size_px) uint8."""
    return mask_one(factors, size_px)


def mask_one(factors: Factors, size_px: int) -> np.ndarray:
    """Return where the shape is, (size_px, size_px) uint8, its blur included: 255 inside, 0 outside."""
    inside = Image.fromarray(_inside(factors, size_px * SUPERSAMPLING)).convert("L")
    return finish(inside, size_px, float(factors["blur"]))


def _inside(factors: Factors, side: int) -> np.ndarray:
    return make_mask(str(factors["shape"]), (float(factors["x"]), float(factors["y"])), float(factors["size"]), side)


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


def unit_outline(shape: str) -> Outline:
    """Return the corners of a shape inside the square from -1 to 1, y downwards; raises KeyError for a shape without corners."""
    return {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0.0, -0.88), (1.0, 0.85), (-1.0, 0.85)],
        "diamond": [(0.0, -1.0), (0.75, 0.0), (0.0, 1.0), (-0.75, 0.0)],
        "hexagon": [(math.cos(math.radians(60 * k)), math.sin(math.radians(60 * k))) for k in range(6)],
        "star": [_star_point(k) for k in range(10)],
        "heart": [_heart_point(2 * math.pi * k / 120) for k in range(120)],
        "flag": [(-0.75, -1.0), (0.9, -0.5), (-0.45, 0.0), (-0.45, 1.0), (-0.75, 1.0)],  # a pole at the left, its pennant to the right
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


GENERATOR = Generator(
    ShapesData, shape_factors, draw_shape, "{fill} {shape}",
    {"generate": "shapes", "shapes": ["circle", "square", "star"], "fill": ["red", "green", "blue"], "background": "yellow", "size": 0.5},
    mask_shape,
)  # fmt: skip

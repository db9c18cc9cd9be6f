"""Line grids of n x m cells: what a study may ask of them, what is true of each, and one picture a grid."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw
from pydantic import Field, field_validator

from loralab.generators.colours import COLOURS, Colour
from loralab.generators.drawing import REFERENCE_PX, SUPERSAMPLING, finish
from loralab.generators.generator import Factors, Generated, Generator


class GridsData(Generated):
    """Line grids of n x m cells, one image a size."""

    generate: Literal["grids"]
    sizes: tuple[str, ...] = Field(min_length=1, description="Grid sizes as columns x rows: 2x2, 3x3, ...")
    line: Colour = Field("black", description="Line colour.")
    line_px: float = Field(2.0, gt=0, le=8, description="Line width in px of a 64 px image.")
    background: Colour = Field("white", description="Colour of the cells.")
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) of the whole image.")

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, sizes: tuple[str, ...]) -> tuple[str, ...]:
        for size in sizes:
            if not re.fullmatch(r"[1-9]x[1-9]", size):
                raise ValueError(f"{size!r} is not a grid size; write columns x rows, each from 1 to 9, such as 3x3")
        return sizes


def grid_factors(spec: GridsData) -> list[Factors]:
    """Return the drawn truth of each grid."""
    return [
        {"columns": int(size[0]), "rows": int(size[2]), "cells": int(size[0]) * int(size[2]), "size": size, "line": spec.line,
         "background": spec.background, "blur": spec.blur}
        for size in spec.sizes
    ]  # fmt: skip


def draw_grid(spec: GridsData, factors: Factors, size_px: int) -> np.ndarray:
    """Return the picture of one grid: full-length lines at equal divisions, the outer frame included."""
    side = size_px * SUPERSAMPLING
    width = spec.line_px / REFERENCE_PX * side
    image = Image.new("RGB", (side, side), COLOURS[spec.background])
    draw = ImageDraw.Draw(image)
    for start in line_starts(int(factors["columns"]), side, width):
        draw.rectangle((start, 0, start + width - 1, side), fill=COLOURS[spec.line])
    for start in line_starts(int(factors["rows"]), side, width):
        draw.rectangle((0, start, side, start + width - 1), fill=COLOURS[spec.line])
    return finish(image, size_px, spec.blur)


def line_starts(n: int, side: float, width: float) -> list[float]:
    """Return where the n + 1 lines begin, so that n equal cells lie between them and the outer lines touch the border."""
    pitch = (side - width) / n
    return [pitch * k for k in range(n + 1)]


GENERATOR = Generator(
    GridsData, grid_factors, draw_grid, "{size} grid", {"generate": "grids", "sizes": ["2x2", "3x4", "6x2"], "line": "blue"},
)  # fmt: skip

"""Line grids of n x m cells: a spec and a size in, one picture a grid out."""

from __future__ import annotations

from PIL import Image, ImageDraw

from loralab.data.example import Example, Factor
from loralab.data.shapes import REFERENCE_PX, SUPERSAMPLING, finish
from loralab.spec.models import COLOURS, GridsData


def make_grids(spec: GridsData, size_px: int) -> list[Example]:
    """Return one example a size: full-length lines at equal divisions, the outer frame included."""
    return [_make_grid(spec, size, size_px) for size in spec.sizes]


def _make_grid(spec: GridsData, size: str, size_px: int) -> Example:
    columns, rows = int(size[0]), int(size[2])
    side = size_px * SUPERSAMPLING
    width = spec.line_px / REFERENCE_PX * side
    image = Image.new("RGB", (side, side), COLOURS[spec.background])
    draw = ImageDraw.Draw(image)
    for start in line_starts(columns, side, width):
        draw.rectangle((start, 0, start + width - 1, side), fill=COLOURS[spec.line])
    for start in line_starts(rows, side, width):
        draw.rectangle((0, start, side, start + width - 1), fill=COLOURS[spec.line])
    factors: dict[str, Factor] = {
        "columns": columns, "rows": rows, "cells": columns * rows, "size": size, "line": spec.line,
        "background": spec.background, "blur": spec.blur,
    }  # fmt: skip
    return Example(finish(image, size_px, spec.blur), f"{size} grid", factors, "generated")


def line_starts(n: int, side: float, width: float) -> list[float]:
    """Return where the n + 1 lines begin, so that n equal cells lie between them and the outer lines touch the border."""
    pitch = (side - width) / n
    return [pitch * k for k in range(n + 1)]

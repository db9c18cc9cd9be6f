"""Sheets of pictures: many small pictures in one file, as a script that a page on disk may load when it comes to show them.

A page that was opened from disk may draw pictures of other files, but not read their pixels back: a strip could not be saved as a picture.
So a sheet is a line of script that hands its bytes over as text.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

#: pictures up to this side are kept at their size; larger ones are made this small on sheets, and lie beside them once more at LARGE_PX
SMALL_PX = 128
LARGE_PX = 640
QUALITY = 90
COLUMNS = 8


def side_of(pictures: Sequence[Path]) -> int:
    """Return the side in px at which pictures stand on a sheet: the longest side of the first, at most SMALL_PX."""
    with Image.open(pictures[0]) as first:
        return min(SMALL_PX, max(first.size))


def make_sheet(pictures: Sequence[Path], side_px: int) -> Image.Image:
    """Return the pictures as tiles of ``side_px``, COLUMNS a row, in their order; what is not square stands in the middle of its tile."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (side_px * min(COLUMNS, len(pictures)), side_px * rows), (128, 128, 128))
    for number, path in enumerate(pictures):
        tile = _fitted(path, side_px)
        left, top = number % COLUMNS * side_px, number // COLUMNS * side_px
        sheet.paste(tile, (left + (side_px - tile.width) // 2, top + (side_px - tile.height) // 2))
    return sheet


def is_large(picture: Path) -> bool:
    """Return whether a picture is larger than its tile, so that looking closer needs a file of its own."""
    with Image.open(picture) as image:
        return max(image.size) > SMALL_PX


def write_script(image: Image.Image, path: Path, name: str, side_px: int) -> None:
    """Write the image as a script that calls ``sheet(name, side_px, address)``: the side of its tiles, 0 where it is one picture alone."""
    out = io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY, method=4)
    address = "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
    path.write_text(f'sheet("{name}",{side_px},"{address}")\n', encoding="utf-8", newline="\n")


def _fitted(path: Path, side_px: int) -> Image.Image:
    with Image.open(path) as image:
        tile = image.convert("RGB")
    if max(tile.size) == side_px:
        return tile
    ratio = side_px / max(tile.size)
    size = (max(1, round(tile.width * ratio)), max(1, round(tile.height * ratio)))
    return tile.resize(size, Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS)


def made_larger(path: Path) -> Image.Image:
    """Return the picture for looking closer, at most LARGE_PX a side."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((LARGE_PX, LARGE_PX), Image.Resampling.LANCZOS)
    return picture

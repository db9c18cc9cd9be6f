"""Puts the pictures of a strip's row side by side into one image, so that a page of hundreds of pictures stays small.

In: pictures as PNG bytes. Out: ``data:`` addresses. Only pixels are carried over: no text chunk, no EXIF.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from loralab.png import png_bytes
from loralab.report.input import Picture

#: pictures up to this side are kept pixel by pixel; larger ones are made this small and compressed with loss
LOSSLESS_PX = 96
THUMB_PX = 128
JPEG_QUALITY = 82
#: the gap between two pictures is this share of a picture's side; report.css uses the same
GAP_SHARE = 1 / 32


def make_sprite(pictures: Sequence[Picture | None], thumb_px: int = THUMB_PX) -> str:
    """Return a ``data:`` address of the pictures side by side; None leaves its place empty. Raises ValueError without any picture."""
    tiles = [None if picture is None else _opened(picture.png) for picture in pictures]
    side = max((max(tile.size) for tile in tiles if tile is not None), default=0)
    if side == 0:
        raise ValueError("a sprite needs at least one picture")
    side = side if side <= LOSSLESS_PX else thumb_px
    lossless = side <= LOSSLESS_PX
    step = side + round(side * GAP_SHARE)
    sheet = Image.new(
        "RGBA" if lossless else "RGB", (step * len(tiles) - (step - side), side), (0, 0, 0, 0) if lossless else (128, 128, 128)
    )
    for column, tile in enumerate(tiles):
        if tile is not None:
            fitted = _fitted(tile, side)
            sheet.paste(fitted, (column * step + (side - fitted.width) // 2, (side - fitted.height) // 2))
    return _address(sheet, lossless)


def _opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        return image.convert("RGB")


def _fitted(tile: Image.Image, side: int) -> Image.Image:
    if max(tile.size) == side:
        return tile
    ratio = side / max(tile.size)
    size = (max(1, round(tile.width * ratio)), max(1, round(tile.height * ratio)))
    return tile.resize(size, Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS)


def _address(sheet: Image.Image, lossless: bool) -> str:
    kind, content = ("png", png_bytes(sheet)) if lossless else ("jpeg", _jpeg_bytes(sheet))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _jpeg_bytes(sheet: Image.Image) -> bytes:
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return out.getvalue()

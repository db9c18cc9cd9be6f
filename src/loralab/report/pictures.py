"""Pictures inside the page: PNG bytes in, one data URI a row out; the pictures of a row share one file to keep the page small."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from loralab.report.input import Picture

GAP_PX = 2


@dataclass(frozen=True)
class Sheet:
    """A row of pictures as one image."""

    uri: str
    width: int
    height: int
    alt: str
    n_pictures: int


def make_sheet(pictures: Sequence[Picture], largest_px: int = 128) -> Sheet:
    """Return the pictures side by side; those larger than ``largest_px`` are scaled down, none is scaled up."""
    images = [_open(picture.png, largest_px) for picture in pictures]
    height = max(image.height for image in images)
    width = sum(image.width for image in images) + GAP_PX * (len(images) - 1)
    sheet = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + GAP_PX
    alt = "; ".join(picture.alt for picture in pictures)
    return Sheet(data_uri(sheet), width, height, alt, len(images))


def _open(png: bytes, largest_px: int) -> Image.Image:
    with Image.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGBA")
    image.thumbnail((largest_px, largest_px))
    return image


def data_uri(image: Image.Image) -> str:
    """Return an image as a PNG data URI without any text or EXIF."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()

"""Contact sheets: rows of images under their labels, as PNG bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from loralab.png import png_bytes

GAP_PX = 4
LABEL_PX = 12


def contact_sheet(rows: Sequence[tuple[str, np.ndarray]], scale: int = 1) -> bytes:
    """Return a PNG with one labelled row of images (N, H, W, 3) uint8 for each entry."""
    height, width = rows[0][1].shape[1] * scale, rows[0][1].shape[2] * scale
    columns = max(len(images) for _, images in rows)
    sheet = Image.new("RGB", (columns * (width + GAP_PX) + GAP_PX, len(rows) * (height + LABEL_PX + GAP_PX) + GAP_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, images) in enumerate(rows):
        top = GAP_PX + row * (height + LABEL_PX + GAP_PX)
        draw.text((GAP_PX, top), label or "(no prompt)", fill="black")
        for column, image in enumerate(images):
            picture = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (GAP_PX + column * (width + GAP_PX), top + LABEL_PX))
    return png_bytes(sheet)

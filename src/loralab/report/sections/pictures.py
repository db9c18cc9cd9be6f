"""Pictures of the lab as a page holds them: PNG bytes without text or EXIF."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from loralab.measure.files import load_pictures
from loralab.report.input import Picture
from loralab.study.result import StudyResult

MOST_TRAINING = 8


def training_pictures(result: StudyResult, arm: str) -> tuple[Picture, ...]:
    """Return the first pictures of an arm's training set under their captions."""
    images, captions, _ = result.training_set(arm)
    pairs = list(zip(images, captions, strict=True))[:MOST_TRAINING]
    return tuple(Picture(png_bytes(image), caption, f"training picture, caption {caption!r}") for image, caption in pairs)


@lru_cache(maxsize=4096)
def bare_png(file: Path) -> bytes:
    """Return a picture of the store without its text; kept, since the base's stand in many strips, and no file there ever changes."""
    return png_bytes(load_pictures([file])[0])


def png_bytes(image: np.ndarray) -> bytes:
    """Return an image (H, W, 3) uint8 as PNG bytes without any text or EXIF."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG", optimize=True)
    return out.getvalue()

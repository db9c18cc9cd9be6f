"""Pictures of the lab as a page holds them: PNG bytes without text or EXIF."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from loralab.measure.files import load_pictures
from loralab.png import png_bytes
from loralab.report.input import Picture
from loralab.study.result import StudyResult

MOST_TRAINING = 24


def training_pictures(result: StudyResult, arm: str) -> tuple[tuple[Picture, ...], int]:
    """Return an arm's training pictures under their captions, of a large set some at even distances, and how many there are."""
    images, captions, _ = result.training_set(arm)
    shown = [
        Picture(png_bytes(images[index], small=True), captions[index], f"training picture {index + 1}, caption {captions[index]!r}")
        for index in evenly(len(images), MOST_TRAINING)
    ]
    return tuple(shown), len(images)


def evenly(n: int, most: int) -> list[int]:
    """Return the places of at most ``most`` of ``n`` things, at even distances, the first and the last among them."""
    if n <= most:
        return list(range(n))
    return [round(k * (n - 1) / (most - 1)) for k in range(most)]


@lru_cache(maxsize=4096)
def bare_png(file: Path) -> bytes:
    """Return a picture of the store without its text; kept, since the base's stand in many strips, and no file there ever changes."""
    return png_bytes(load_pictures([file])[0], small=True)

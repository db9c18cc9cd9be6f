"""Readings of one block of pictures: their files and the base's in, readings out; any process can do it. Only concepts need torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from loralab.measure.concept import Concept
from loralab.measure.reading import Reading
from loralab.measure.table import measure_images

#: (the instrument's name, the training set that it refers to or "", the concept that it looks for or "")
Asked: TypeAlias = tuple[str, str, str]


def load_pictures(files: Sequence[Path]) -> np.ndarray:
    """Return pictures (N, H, W, 3) uint8."""
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])


def measure_files(
    asked: Sequence[Asked], training: Mapping[str, np.ndarray], concepts: Mapping[str, Concept], files: Sequence[Path],
    base_files: Sequence[Path],
) -> list[list[Reading]]:  # fmt: skip
    """Return for each of ``asked`` one reading a file of one run in one cell; ``base_files`` are the base's pictures at the same seeds.

    ``training`` has the pictures (M, H, W, 3) uint8 of every training set that is referred to; a concept that is not among ``concepts``
    cannot be read. Raises as `measure_images`.
    """
    images, base_images = load_pictures(files), load_pictures(base_files)
    plain = measure_images(images, [name for name, *refers in asked if not any(refers)], base_images=base_images, together=True)

    def found(name: str, data: str, concept: str) -> list[Reading]:
        if not data and not concept:
            return plain[name]
        known = training[data] if data else None
        return measure_images(images, [name], training_images=known, concept=concepts.get(concept))[name]

    return [found(*each) for each in asked]

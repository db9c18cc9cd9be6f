"""Writes training sets as kohya folders: `<repeats>_<name>/0001.png` with `0001.txt` beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from loralab.generators.example import Example


def write_kohya_folder(examples: Sequence[Example], captions: Sequence[str], folder: Path, *, repeats: int, name: str) -> Path:
    """Return the folder written, ``folder``/<repeats>_<name>; the same examples and captions give the same bytes.

    A line break in a caption becomes a space: kohya reads the first line alone. In ``name`` all but letters, digits, spaces and - become -.
    """
    target = folder / f"{repeats}_{re.sub('[^A-Za-z0-9 -]', '-', name)}"
    target.mkdir(parents=True)
    for number, (example, caption) in enumerate(zip(examples, captions, strict=True), start=1):
        Image.fromarray(np.ascontiguousarray(example.image)).save(target / f"{number:04d}.png", "PNG")
        (target / f"{number:04d}.txt").write_text(" ".join(caption.splitlines()), encoding="utf-8", newline="\n")
    return target

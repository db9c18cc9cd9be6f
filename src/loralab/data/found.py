"""A picture file that is to be read, with its caption and its repeats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A picture file with its caption, and how often an epoch shows it; ``spoilt`` where its caption could not be read."""

    file: Path
    caption: str
    repeats: int
    spoilt: bool = False

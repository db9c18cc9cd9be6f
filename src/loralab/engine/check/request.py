"""What the user of `loralab check` asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loralab.spec import LoadSpec

#: strengths at which the best file is drawn besides 1
STRENGTHS = (0.25, 0.5, 0.75, 1.25)


@dataclass(frozen=True)
class CheckRequest:
    """The options of one check."""

    paths: tuple[Path, ...]
    base: str = "petri"
    dataset: Path | None = None
    trigger: str | None = None
    embedder: Path | None = None
    minutes: float = 10.0
    seeds: int | None = None
    out: Path | None = None
    order: str = ""  # the files from the first to the last saved, where neither names nor metadata tell
    load: LoadSpec = field(default_factory=lambda: LoadSpec())

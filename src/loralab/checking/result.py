"""What a check comes to: scores, advice, what time did not allow, and where its page lies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loralab.checking.advice import Advice
from loralab.checking.opening import Checked
from loralab.checking.scores import Scores


@dataclass(frozen=True)
class Result:
    """What was found: scores by file and by file and strength, what to use, which files nothing beats, and what time did not allow."""

    scores: dict[str, Scores]
    strengths: dict[str, dict[float, Scores]]  # label -> strength -> scores, strength 1 among them
    advice: dict[str, Advice | None]  # by label where files are called by different words, else one under ""
    kept: list[str]
    beaten: dict[str, str]
    gave_up: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class CheckOutcome:
    """A finished check: what was found, and where it lies."""

    check: Checked
    result: Result
    page: Path
    card: Path
    document: dict[str, Any]


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

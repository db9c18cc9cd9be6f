"""What the user of `loralab watch` asks for, and what is said to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loralab.checking import CheckRequest

#: pictures a prompt at most, however quick the machine: what is watched is told in time
MOST_SEEDS = 16


@dataclass(frozen=True)
class WatchRequest:
    """The options of one watch; ``check`` says how each file is checked, its ``minutes`` those of one file."""

    folder: Path
    check: CheckRequest
    every_seconds: float = 5.0
    until_minutes: float | None = None  # without a new file, after which the watch ends
    tensorboard: Path | None = None


@dataclass(frozen=True)
class Said:
    """One line for the user, and for programs what it is about."""

    kind: Literal["epoch", "stop", "note", "end"]
    text: str
    document: Mapping[str, Any] = field(default_factory=dict)

"""What a running study tells its caller: the caller owns bars, printing and timing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """Progress of one stage; ``path`` names a file that can be looked at now."""

    stage: str
    done: int
    total: int
    note: str = ""
    path: str = ""


@dataclass
class StageClock:
    """Wall time by stage, summed over the visits to it."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    first_pictures_seconds: float | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside the block to ``name``."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - before

    def mark_first_pictures(self) -> None:
        """Note when the first pictures could be seen."""
        if self.first_pictures_seconds is None:
            self.first_pictures_seconds = time.monotonic() - self.started

    @property
    def total_seconds(self) -> float:
        """Wall time since the clock was made."""
        return time.monotonic() - self.started

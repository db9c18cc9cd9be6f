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
    done: float
    total: float
    note: str = ""
    path: str = ""
    made: tuple[str, str] | None = None  # kind and key of an artefact that was just published


#: a stage's time is foretold from so many of its first parts; the first also sets up, and two may be finished at a time
PACE_PARTS = 5


@dataclass
class StageClock:
    """Wall time by stage, summed over the visits to it, and how long a stage was foretold to take from its first parts."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    first_pictures_seconds: float | None = None
    foretold: dict[str, float] = field(default_factory=dict)
    marks: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside the block to ``name``."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - before

    def add(self, name: str, seconds: float) -> None:
        """Add time to ``name``."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def foretell(self, name: str, done: float, total: float) -> None:
        """Note that ``done`` of ``total`` units of a stage are finished; at the fifth part its whole time is foretold from the rate."""
        marks = self.marks.setdefault(name, [])
        if len(marks) < PACE_PARTS:
            marks.append((done, time.monotonic()))
        if len(marks) == PACE_PARTS and name not in self.foretold:
            (first, then), (last, now) = marks[0], marks[-1]
            self.foretold[name] = (now - then) / (last - first) * total

    def mark_first_pictures(self) -> None:
        """Note when the first pictures could be seen."""
        if self.first_pictures_seconds is None:
            self.first_pictures_seconds = time.monotonic() - self.started

    @property
    def total_seconds(self) -> float:
        """Wall time since the clock was made."""
        return time.monotonic() - self.started

"""Schedules that end on time: in goes a wall clock or a number of examples, out comes the fraction of a training run that is over.

On a shared machine the throughput is not known in advance. A decay keyed to the clock reaches zero when it must; one keyed to
examples ends where it was said, however long that takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import cos, pi
from pathlib import Path
from typing import Any

import torch


def seconds_until(clock_time: str) -> float:
    """Return the seconds from now to the next HH:MM of the local clock."""
    now = datetime.now()
    hour, minute = (int(part) for part in clock_time.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return ((end if end > now else end + timedelta(days=1)) - now).total_seconds()


class Deadline:
    """A stretch of wall-clock time; resumed runs add the seconds that earlier stretches took."""

    def __init__(self, seconds: float, spent_seconds: float = 0.0) -> None:
        self.start = time.monotonic() - spent_seconds
        self.seconds = seconds + spent_seconds

    @property
    def spent_seconds(self) -> float:
        """Seconds of training so far."""
        return time.monotonic() - self.start

    @property
    def fraction(self) -> float:
        """The fraction of the time that is over, at most 1."""
        return min(self.spent_seconds / self.seconds, 1.0)

    def fraction_at(self, examples: int) -> float:
        """Return the fraction that is over once this many examples were seen; here the clock alone decides."""
        return self.fraction


class Goal(Deadline):
    """A number of examples, those of earlier stretches with them; the clock is only read."""

    def __init__(self, examples: int, spent_seconds: float = 0.0) -> None:
        super().__init__(float("inf"), spent_seconds)
        self.examples = examples

    def fraction_at(self, examples: int) -> float:
        """Return the fraction of the examples that were seen, at most 1."""
        return min(examples / self.examples, 1.0)


def save_whole(packed: Mapping[str, Any], path: Path) -> None:
    """Write a state of training; an older file is replaced only when the new one is complete."""
    unfinished = path.with_suffix(".part")
    torch.save(dict(packed), unfinished)
    unfinished.replace(path)


def warm_cosine(fraction: float, examples: int, warmup_examples: int, hold: float = 0.0) -> float:
    """Return the factor on the learning rate: a rise counted in examples, 1 for a share `hold` of the time, half a cosine."""
    falling = max(fraction - hold, 0.0) / (1 - hold)
    return min(examples / warmup_examples, 1.0) * 0.5 * (1 + cos(pi * falling))

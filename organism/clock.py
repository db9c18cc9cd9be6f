"""Schedules that end on time: in goes a wall clock, out comes the fraction of a training run that is over.

On a shared machine the throughput is not known in advance. A decay keyed to the clock reaches zero when it must.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from math import cos, pi


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
        """The fraction that is over, at most 1."""
        return min(self.spent_seconds / self.seconds, 1.0)


def warm_cosine(fraction: float, examples: int, warmup_examples: int, hold: float = 0.0) -> float:
    """Return the factor on the learning rate: a rise counted in examples, 1 for a share `hold` of the time, half a cosine."""
    falling = max(fraction - hold, 0.0) / (1 - hold)
    return min(examples / warmup_examples, 1.0) * 0.5 * (1 + cos(pi * falling))

"""What carries groups out: the protocol that one process, processes beside each other, or many machines implement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

from loralab.work.task import Ended, Group, Message, Work

#: what may be cut where there are places enough: nothing in such a group needs its company (pictures differ by rounding at most)
CUT = ("images", "readings")
#: a part of fewer tasks would cost more to hand out than it saves
LEAST_TASKS = 2


class Executor(Protocol):
    """Takes groups and tells what becomes of them; no stage knows which executor it is called by. ``places`` work beside each other."""

    places: int

    def takes(self, group: Group) -> bool:
        """Return whether there is room for another group now."""
        ...

    def submit(self, work: Work) -> None:
        """Begin; returns at once."""
        ...

    def next(self) -> tuple[Group, Message | Ended]:
        """Wait for the next message of anything that was begun; raises what a stage raised."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...


def spread(groups: Sequence[Group], places: int) -> list[Group]:
    """Return the groups with those of pictures and readings cut into as many parts as there are places: the same parts every time."""
    return [part for group in groups for part in (_parts(group, places) if group.stage in CUT and places > 1 else (group,))]


def _parts(group: Group, places: int) -> Iterator[Group]:
    n = max(1, min(places, len(group.tasks) // LEAST_TASKS))
    bounds = [round(len(group.tasks) * part / n) for part in range(n + 1)]
    for start, stop in pairwise(bounds):
        tasks = group.tasks[start:stop]
        yield replace(group, tasks=tasks, weight=group.weight * len(tasks) / len(group.tasks))

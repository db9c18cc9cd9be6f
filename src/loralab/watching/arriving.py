"""Which files of a folder are whole and new: what was seen before and what is seen now in, what to take and what to say out.

Trainers write a file over seconds, write beside it and rename, write over what was there, and are killed in the middle. A file is taken
when its header agrees with its size and neither size nor time of writing has changed for a while. Pure: who looks is `looking.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from loralab.checking.order import Mark, mark_of

#: a file that is not whole and has not changed for so long is said to be so, once
PATIENT_SECONDS = 60.0
#: nothing new for so many times the usual time between two files, and at least so long, is worth a word
SILENT_TIMES, LEAST_SILENT_SECONDS = 3.0, 120.0


class Stamp(NamedTuple):
    """What tells that a file was written again."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Sight:
    """A file as it was just seen: ``name`` is its path in the folder, ``fault`` why it is no whole LoRA file ("" where it is one)."""

    name: str
    path: Path
    stamp: Stamp
    fault: str = ""


@dataclass(frozen=True)
class Waiting:
    """A file that has not been taken: since when it stands as it does, and whether it was said that it is not whole."""

    stamp: Stamp
    since: float
    told: bool = False


@dataclass(frozen=True)
class Seen:
    """What is known of the folder: files that are waited for, and the stamps of those that were taken or refused."""

    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    done: Mapping[str, Stamp] = field(default_factory=dict)


class Step(NamedTuple):
    """What follows from a look: what is known now, which files are ready to be taken, and what to say."""

    seen: Seen
    ready: tuple[Sight, ...]
    say: tuple[str, ...]


def look_again(seen: Seen, sights: Sequence[Sight], now: float, settle_seconds: float) -> Step:
    """Return what follows from seeing ``sights`` at ``now`` (seconds of a steady clock)."""
    waiting, ready, say = dict[str, Waiting](), list[Sight](), list[str]()
    for sight in sights:
        if seen.done.get(sight.name) == sight.stamp:
            continue
        before = seen.waiting.get(sight.name)
        own = before if before is not None and before.stamp == sight.stamp else Waiting(sight.stamp, now)
        stood = now - own.since
        if not sight.fault and before is own and stood >= settle_seconds:
            ready.append(sight)
        elif sight.fault and stood >= PATIENT_SECONDS and not own.told:
            say.append(f"{sight.fault}; waiting for the rest.")
            own = replace(own, told=True)
        waiting[sight.name] = own
    return Step(Seen(waiting, seen.done), tuple(ready), tuple(say))


def settled(seen: Seen, sight: Sight) -> Seen:
    """Return what is known when a file has been taken, or refused as it stands."""
    waiting = {name: own for name, own in seen.waiting.items() if name != sight.name}
    return Seen(waiting, {**seen.done, sight.name: sight.stamp})


def still_told(kept: Mapping[str, Stamp], present: Mapping[str, Stamp]) -> list[str]:
    """Return the names of files that are gone from the folder and still belong to what is there now.

    Trainers delete their oldest files to save room: those lie before everything that is there, by number and by time. What lies behind
    something older is of another training, which the folder held before.
    """
    marks = {name: mark_of(Path("/", name)) for name in {*kept, *present}}
    gone = [name for name in kept if name not in present]
    return [name for name in gone if present and all(_before(marks, kept, present, name, other) for other in present)]


def _before(marks: Mapping[str, Mark], kept: Mapping[str, Stamp], present: Mapping[str, Stamp], name: str, other: str) -> bool:
    one, two = marks[name], marks[other]
    if one.number is None or (one.training, one.kind) != (two.training, two.kind if two.number is not None else one.kind):
        return False
    return (two.number is None or one.number < two.number) and kept[name].mtime_ns <= present[other].mtime_ns


def silence(arrivals: Sequence[float], now: float) -> str:
    """Return a word where nothing has come for much longer than usual, from the times (s) at which files came; else ""."""
    if len(arrivals) < 2:
        return ""
    usual = median(later - sooner for sooner, later in pairwise(arrivals))
    quiet = now - arrivals[-1]
    if quiet < max(LEAST_SILENT_SECONDS, SILENT_TIMES * usual):
        return ""
    return f"Nothing new for {_minutes(quiet)}, although a file usually takes {_minutes(usual)}: has the trainer stopped? Still watching."


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

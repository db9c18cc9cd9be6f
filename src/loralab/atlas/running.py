"""Runs studies of the atlas, one or many, by the adaptive rule; what the lab has finished is not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loralab.atlas.beliefs import Belief
from loralab.atlas.minutes import minutes_by_look
from loralab.atlas.outcome import finished_in
from loralab.engine.whole import Listener, run_study
from loralab.errors import LabError
from loralab.preflight import checked_study
from loralab.spec.load import Loaded
from loralab.study.looks import Budget, with_looks
from loralab.study.result import StudyResult

MINUTES = 10.0


@dataclass(frozen=True)
class Asked:
    """How beliefs are asked: on which base, which version, for how long each."""

    base: str | None = None
    twice: bool = False
    minutes: float = MINUTES


@dataclass(frozen=True)
class Answered:
    """What became of one belief: its result; or why there is none."""

    belief: Belief
    result: StudyResult | None
    became: str  # run, found, failed
    problem: str = ""


def loaded_for(belief: Belief, asked: Asked) -> Loaded:
    """Return a belief's study, checked, as it is run: with looks after 8, 16 and 32 trainings."""
    loaded = checked_study(belief.path, base=asked.base, twice=asked.twice)
    return with_looks(loaded, f"--minutes {asked.minutes:g}")


def run_belief(belief: Belief, asked: Asked, lab: Path, listen: Listener) -> Answered:
    """Return the result of one belief's study, run or as the lab has it; a study that was cut off goes on. Raises LabError."""
    loaded = loaded_for(belief, asked)
    found = finished_in(lab, loaded)
    if found is not None:
        return Answered(belief, found, "found")
    return Answered(belief, run_study(loaded, lab, listen, Budget(asked.minutes)), "run")


def run_beliefs(beliefs: Sequence[Belief], asked: Asked, lab: Path, listener: Callable[[Belief], Listener]) -> Iterator[Answered]:
    """Yield what became of each belief, the shortest study first; one that cannot be run stops no other."""
    for belief in sorted(beliefs, key=lambda belief: expected_minutes(belief)):
        try:
            yield run_belief(belief, asked, lab, listener(belief))
        except LabError as error:
            yield Answered(belief, None, "failed", str(error))


def expected_minutes(belief: Belief) -> float:
    """Return how long a belief's study takes on two cores if every claim stays open to the last look."""
    return max(minutes_by_look(checked_study(belief.path)).values())

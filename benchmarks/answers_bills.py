"""What the same answers take in each way: trainings and pictures, then minutes at measured seconds.

In: played studies, the fixed rules' chances, the seconds that a training and a picture take. Out: bills, and which claims nobody decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from answers_fixed import WANTED, Chances, needed
from answers_rounds import Cost, Look, cost_of
from answers_study import Question, Study

from loralab.spec import Cell
from loralab.spec.questions import QuestionId


@dataclass(frozen=True)
class Seconds:
    """Wall seconds of one training and one picture: in the lab's stacks, with the peer's script and pipeline; measuring one picture."""

    lab_training: float
    lab_picture: float
    peer_training: float
    peer_picture: float
    measuring: float

    def minutes(self, cost: Cost, peer: bool = False) -> float:
        """Return the minutes of a bill."""
        training, picture = (self.peer_training, self.peer_picture) if peer else (self.lab_training, self.lab_picture)
        return (cost.trainings * training + cost.pictures * (picture + self.measuring)) / 60


@dataclass(frozen=True)
class Bill:
    """What one way takes for ``wanted`` claims, and which of them it does not answer within its largest budget."""

    way: str
    peer: bool
    cost: Cost
    wanted: int
    never: tuple[str, ...] = ()
    answered: float | None = None  # of all questions, rightly, on average; None where that was not asked


@dataclass(frozen=True)
class Played:
    """The lab's rule in rounds on made-up studies."""

    studies: Sequence[Sequence[Look]]

    def at(self, trainings: int | None) -> list[Look]:
        """Return each study's last look up to so many trainings; its very last where that is None."""
        return [next(k for k in reversed(study) if trainings is None or k.trainings <= trainings) for study in self.studies]

    def right(self, questions: Sequence[Question], trainings: int | None) -> dict[QuestionId, float]:
        """Return the share of studies in which each question is rightly answered by a look."""
        looks = self.at(trainings)
        return {q.id: float(np.mean([look.answers[q.id] == q.truth != 0 for look in looks])) for q in questions}

    def wrong(self, questions: Sequence[Question]) -> dict[str, float]:
        """Return by experiment the share of studies that answer any of its questions wrongly by their stop."""
        looks, found = self.at(None), {}
        for name in dict.fromkeys(q.id.experiment for q in questions):
            own = [q for q in questions if q.id.experiment == name]
            found[name] = float(np.mean([any(look.answers[q.id] not in (0, q.truth) for q in own) for look in looks]))
        return found

    def cost(self, trainings: int | None) -> Cost:
        """Return the median of what the studies had taken by a look."""
        looks = self.at(trainings)
        return Cost(*(round(float(np.median([getattr(look.cost, what) for look in looks]))) for what in ("trainings", "pictures")))


def same_claims(right: Mapping[QuestionId, float]) -> list[QuestionId]:
    """Return the questions that are rightly answered in WANTED of the studies."""
    return [question for question, share in right.items() if share >= WANTED]


def told_beforehand(
    study: Study, questions: Sequence[Question], wanted: Sequence[QuestionId], chances: Mapping[int, Chances], way: str, peer: bool
) -> Bill:  # fmt: skip
    """Return the bill of a fixed rule that knows how many trainings each wanted claim takes, and draws only what those claims read."""
    reach: dict[Cell, int] = {}
    never = []
    for question in (q for q in questions if q.id in wanted):
        n = needed(chances, question.id)
        if n is None:
            never.append(question.say)
        else:
            reach |= {cell: max(n, reach.get(cell, 0)) for cell in question.cells}
    return Bill(f"{way}: as often as each takes", peer, cost_of(study, reach), len(wanted), tuple(never))


def one_number(
    study: Study, questions: Sequence[Question], wanted: Sequence[QuestionId], chances: Mapping[int, Chances], way: str, peer: bool
) -> Bill:  # fmt: skip
    """Return the bill of a fixed rule whose study has one number of trainings for all arms: the smallest that decides every wanted claim.

    Of the wanted claims, those that no number decides are left out. The earlier lab drew all that a study's file asks for, for every
    training; the peer draws what decides something.
    """
    found = {question.say: needed(chances, question.id) for question in questions if question.id in wanted}
    n = max((n for n in found.values() if n is not None), default=0)
    made = sum(study.spec.arms[arm].control != "null" for arm in study.plan.arms)
    drawn = study.deciding if peer else study.plan.cells
    never = tuple(say for say, least in found.items() if least is None)
    return Bill(f"{way}: {n} for all", peer, Cost(n * made, n * len(drawn) * study.spec.sample.seeds), len(wanted), never)


def as_planned(
    study: Study, questions: Sequence[Question], plans: Mapping[QuestionId, int | None], most: int, chances: Mapping[int, Chances],
    way: str, peer: bool,
) -> Bill:  # fmt: skip
    """Return the bill of a fixed rule that plans by power, each cell as the most demanding of its questions asks, ``most`` at the most.

    A question without a plan (nothing would be enough, or its spread is not known) asks for ``most``.
    """
    reach: dict[Cell, int] = {}
    for question in questions:
        n = min(most, plans[question.id] or most)
        reach |= {cell: max(n, reach.get(cell, 0)) for cell in question.cells}
    answered = sum(chances[min(reach[cell] for cell in q.cells)].right[q.id] for q in questions)
    return Bill(way, peer, cost_of(study, reach), len(questions), answered=answered)

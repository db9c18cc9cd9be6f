"""How many trainings a fixed rule needs: as if the changes had been known beforehand, and by the plan that one would make not knowing them.

In: questions over a pool of real readings. Out: by question and number of trainings the share of made-up studies that answer rightly and
wrongly; the smallest number with which WANTED of them answer rightly; and what Student's power formula asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from answers_pool import Drawn, Pool, drawn_from
from answers_rules import OPEN, holm, old_rule, t_tests
from answers_study import Question
from scipy import stats

from loralab.infer.spreads import RunSd
from loralab.spec.questions import QuestionId

#: trainings of an arm that are tried; the last is the largest budget
GRID = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)
WANTED = 0.8
#: what a plan assumes: a change of twice the smallest that counts, or none at all
ASSUMED = 2.0
Rule = Callable[[Sequence[Question], Drawn], dict[QuestionId, np.ndarray]]


def by_old_rule(questions: Sequence[Question], drawn: Drawn) -> dict[QuestionId, np.ndarray]:
    """Return the earlier rule's answers (studies,) to the questions of one experiment."""
    return {question.id: old_rule(*question.drawn(drawn), question.asked) for question in questions}


def by_t_test(questions: Sequence[Question], drawn: Drawn) -> dict[QuestionId, np.ndarray]:
    """Return a t test's answers (studies,) to the questions of one experiment, after Holm's correction."""
    found = [t_tests(*question.drawn(drawn), question.asked) for question in questions]
    kept = holm([answers for answers, _ in found], [p for _, p in found])
    return {question.id: answers for question, answers in zip(questions, kept, strict=True)}


@dataclass(frozen=True)
class Chances:
    """Shares of made-up studies at one number of trainings: rightly answered by question, and anything wrong by experiment."""

    right: Mapping[QuestionId, float]
    wrong: Mapping[str, float]


def chances_of(
    questions: Sequence[Question], pool: Pool, rule: Rule, rng: np.random.Generator, studies: int, pictures: int,
    grid: Sequence[int] = GRID,
) -> dict[int, Chances]:  # fmt: skip
    """Return what a rule says at each number of trainings, in ``studies`` made-up studies of ``pictures`` a training."""
    found = {}
    for n in grid:
        drawn = drawn_from(pool, rng, studies, n, pictures)
        right: dict[QuestionId, float] = {}
        wrong: dict[str, float] = {}
        for name in dict.fromkeys(question.id.experiment for question in questions):
            own = [question for question in questions if question.id.experiment == name]
            answers = rule(own, drawn)
            right |= {q.id: float(np.mean((answers[q.id] == q.truth) & (answers[q.id] != OPEN))) for q in own}
            wrong[name] = float(np.mean(np.any([(answers[q.id] != q.truth) & (answers[q.id] != OPEN) for q in own], axis=0)))
        found[n] = Chances(right, wrong)
    return found


def needed(chances: Mapping[int, Chances], question: QuestionId) -> int | None:
    """Return the smallest number of trainings from which on WANTED of the studies answer rightly; None where the largest is not enough."""
    enough = [chances[n].right[question] >= WANTED for n in sorted(chances)]
    short = [n for n, is_enough in zip(sorted(chances), enough, strict=True) if not is_enough]
    return next((n for n in sorted(chances) if n > max(short, default=0)), None)


def planned(question: Question, spreads: Mapping[str, RunSd], pictures: int, grid: Sequence[int] = GRID) -> int | None:
    """Return the trainings that a plan asks for, by Student's power formula at the claim's level from the spreads that ship.

    A change of ASSUMED times the smallest that counts is to be found with WANTED, or where none is expected, none. None where the largest
    number is not enough, there is no margin, or the spread is not known.
    """
    spread, margin = spreads.get(question.measure.partition("[")[0]), question.asked.margin
    if spread is None or margin is None:
        return None
    sd, alpha = question.widening * spread.at(pictures), question.asked.alpha / question.asked.m_claims
    power = _power_inside if question.asked.expect == "no change" else _power_beyond
    return next((n for n in grid if power(margin, sd, n, alpha) >= WANTED), None)


def _power_beyond(margin: float, sd: float, n: int, alpha: float) -> float:
    """Return the chance that a t interval lies beyond the margin if the change is ASSUMED margins (noncentral t)."""
    return float(stats.nct.sf(stats.t.isf(alpha / 2, n - 1), n - 1, (ASSUMED - 1) * margin * np.sqrt(n) / sd))


def _power_inside(margin: float, sd: float, n: int, alpha: float) -> float:
    """Return the chance that a t interval lies inside the margin if there is no change: over the spread that the sample may show."""
    shares = (np.arange(2000) + 0.5) / 2000
    error = sd / np.sqrt(n)
    room = margin - stats.t.isf(alpha / 2, n - 1) * error * np.sqrt(stats.chi2.ppf(shares, n - 1) / (n - 1))
    return float(np.mean(np.where(room > 0, 2 * stats.norm.cdf(room / error) - 1, 0.0)))

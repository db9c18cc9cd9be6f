"""A study's questions over a pool of real readings: each one's differences, its controls', and what is true of it in this world.

In: a study with what its cards say, and a pool. Out: plain arrays, which the fixed rules of ``answers_rules`` judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from answers_pool import Drawn, Pool, Told
from answers_rules import FAILS, HOLDS, OPEN, Asked, Paired

from loralab.infer.case import DEFAULT_MARGIN, InstrumentFacts
from loralab.infer.factorial import trend_weights
from loralab.infer.pairs import FEW_VALUES
from loralab.infer.rounds import cells_of
from loralab.spec import Cell, StudySpec, base_of
from loralab.spec.models import ClaimSpec, ExperimentSpec
from loralab.spec.questions import QuestionId, question_ids, question_of
from loralab.study.measures import qualified_experiments
from loralab.study.plan import ILLUSTRATED, StudyPlan, deciding_cells, make_plan


@dataclass(frozen=True)
class Study:
    """What judging needs of a study; ``shipped`` says of which bases, prompts and measures the lab knows the mean."""

    spec: StudySpec
    plan: StudyPlan
    experiments: Mapping[str, ExperimentSpec]  # measures with the data that they are held against
    facts: Mapping[str, InstrumentFacts]
    training: Mapping[tuple[str, str], float | None]
    shipped: frozenset[Told]

    @cached_property
    def deciding(self) -> frozenset[Cell]:
        """The cells that decide something; the others are drawn for the first trainings alone."""
        return deciding_cells(self.spec, self.plan.cells, self.plan.controls, self.plan.curves, self.plan.effects)

    def reach(self, trainings: Mapping[Cell, int]) -> dict[Cell, int]:
        """Return how many trainings of each cell are drawn where an arm has so many, the bases beneath included."""
        found: dict[Cell, int] = {}
        for cell, n in trainings.items():
            for each in {cell, cell.on(base_of(self.spec, cell.arm))}:
                own = n if each in self.deciding else min(n, ILLUSTRATED)
                found[each] = max(own, found.get(each, 0))
        return found

    @property
    def questions(self) -> tuple[QuestionId, ...]:
        """Every question that the plan draws."""
        return tuple(q for q in question_ids(self.spec) if q.kind == "claim" or q in self.plan.curves)

    def claim(self, question: QuestionId) -> ClaimSpec:
        """Return a question as a claim; a curve's is that of its last dose."""
        experiment = self.experiments[question.experiment]
        if question.kind == "claim":
            return experiment.claims[question.index]
        return experiment.curves[question.index].as_claim(self.plan.curves[question].cells[-1])


def study_of(
    spec: StudySpec, facts: Mapping[str, InstrumentFacts], training: Mapping[tuple[str, str], float | None], shipped: frozenset[Told]
) -> Study:  # fmt: skip
    """Return a study's parts; raises what ``make_plan`` raises."""
    return Study(spec, make_plan(spec), qualified_experiments(spec), facts, training, shipped)


def answerable(study: Study, pool: Pool) -> tuple[Study, list[str]]:
    """Return the study without the claims of which the pool has no readings, and what those say."""
    left_out: list[str] = []
    kept = {}
    for name, experiment in study.spec.experiments.items():
        claims = study.experiments[name].claims
        there = [pool.has(claim.cell, claim.measure) for claim in claims]
        left_out += [claim.say for claim, has in zip(claims, there, strict=True) if not has]
        own = tuple(claim for claim, has in zip(experiment.claims, there, strict=True) if has)
        kept[name] = experiment.model_copy(update={"claims": own})
    spec = study.spec.model_copy(update={"experiments": kept})
    return study_of(spec, study.facts, study.training, study.shipped), left_out


@dataclass(frozen=True)
class Question:
    """A question's differences and its required controls', each (trainings of the pool, pictures), and the arms' cells that it reads."""

    id: QuestionId
    say: str
    measure: str
    asked: Asked
    own: Paired
    controls: tuple[Paired, ...]
    cells: tuple[Cell, ...]
    widening: float  # how much more its difference is taken to spread than one from the base

    @property
    def truth(self) -> int:
        """Whether the claim holds on average over the pool; OPEN where the change is there and its controls make it, too."""
        if self.asked.margin is None or not self.asked.facts.carried:
            return OPEN
        mean, margin = float(np.nanmean(self.own.values)), self.asked.margin
        if self.asked.expect == "no change":
            return HOLDS if abs(mean) <= margin else FAILS
        sign = 1 if self.asked.expect == "higher" else -1
        if sign * mean <= margin:
            return FAILS
        return HOLDS if all(sign * float(np.nanmean(control.values)) > 0 for control in self.controls) else OPEN

    def drawn(self, drawn: Drawn) -> tuple[Paired, list[Paired]]:
        """Return its differences, and its controls', in made-up studies."""
        own, *controls = (replace(paired, values=drawn.of(paired.values)) for paired in (self.own, *self.controls))
        return own, controls


def questions_over(study: Study, pool: Pool) -> list[Question]:
    """Return every question of a study with its differences in the pool."""
    sharing = Counter(question.experiment for question in study.questions)
    return [_question(study, pool, question, sharing[question.experiment]) for question in study.questions]


def _question(study: Study, pool: Pool, question: QuestionId, m_claims: int) -> Question:
    claim = study.claim(question)
    facts = study.facts[claim.measure]
    if question.kind == "curve":
        doses = study.plan.curves[question].cells
        weights = trend_weights(len(doses))
        own, controls, widening = _paired(pool, claim.measure, facts, doses, weights), (), float(np.linalg.norm(weights))
    else:
        sides = (claim.cell, claim.versus_cell)
        own, controls = _paired(pool, claim.measure, facts, sides, (1, -1)), _controls(study, pool, question, claim)
        widening = float(np.sqrt(sum(not cell.is_base for cell in sides)))
    asked = Asked(claim.expect, _margin(study, pool, claim, facts), facts, m_claims)
    cells = cells_of(question, study.experiments, study.plan.controls, study.plan.curves)
    return Question(question, question_of(study.spec, question).say, claim.measure, asked, own, controls, cells, widening)


def _paired(pool: Pool, measure: str, facts: InstrumentFacts, cells: Sequence[Cell], weights: Sequence[float] | np.ndarray) -> Paired:
    sides = np.stack([pool.values(cell, measure, facts.kind) for cell in cells])
    few = len(np.unique(sides[:, ~np.isnan(sides).any(axis=0)])) <= FEW_VALUES
    return Paired(np.tensordot(np.asarray(weights, float), sides, axes=1), 4 if len(cells) == 4 and not np.ptp(np.abs(weights)) else 2, few)


def _controls(study: Study, pool: Pool, question: QuestionId, claim: ClaimSpec) -> tuple[Paired, ...]:
    """Return what a claim must exceed: what training as such does, where something is said to be learned, and what happens untriggered."""
    held, facts = study.plan.controls[question], study.facts[claim.measure]
    found = []
    if held.placebo is not None and claim.versus_cell.is_base and claim.expect != "no change":
        found.append(_paired(pool, claim.measure, facts, (claim.cell, held.placebo), (1, -1)))
    if held.no_trigger is not None and claim.needs_trigger:
        bases = [cell.on(base_of(study.spec, cell.arm)) for cell in (claim.cell, held.no_trigger)]
        cells = (claim.cell, bases[0], held.no_trigger, bases[1])
        found.append(_paired(pool, claim.measure, facts, cells, (1, -1, -1, 1)))
    return tuple(found)


def _margin(study: Study, pool: Pool, claim: ClaimSpec, facts: InstrumentFacts) -> float | None:
    """Return the smallest change that counts, from all of the pool's pictures of the base; None where there is no gap to speak of."""
    if claim.margin_absolute is not None:
        return claim.margin_absolute
    trained = study.training.get((str(claim.cell.arm), claim.measure))
    base = pool.values(claim.cell.on(base_of(study.spec, claim.cell.arm)), claim.measure, facts.kind)
    gap = None if trained is None or np.isnan(base).all() else trained - float(np.nanmean(base))
    if gap is None or abs(gap) <= facts.smallest_gap:
        return None
    return (DEFAULT_MARGIN if claim.margin is None else claim.margin) * abs(gap)

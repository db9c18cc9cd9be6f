"""What a budget can decide, claim by claim, before anything is trained.

In: the experiments, the trainings of each arm, the pictures a training, the instruments, the gaps as far as they are known, and the
spreads that ship in ``run_sd.json``. Out: one ``ClaimPlan`` a claim. The same rule as judges is played forward (``simulated``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from loralab.infer.case import DEFAULT_MARGIN, InstrumentFacts
from loralab.infer.estimate import MIN_RUNS
from loralab.infer.factorial import trend_weights
from loralab.infer.looks import PLANNED
from loralab.infer.simulated import Budget, Scatter, by_look, needed_effects, needed_margins, smallest, trainings_up_to
from loralab.infer.spreads import RunSd, load_run_sds
from loralab.infer.words import amount, gap_too_small, not_carried
from loralab.spec.models import ClaimSpec, ExperimentSpec
from loralab.spec.questions import QuestionId

__all__ = ["ClaimPlan", "RunSd", "load_run_sds", "plan_claims"]

#: the change that chances are told for, in smallest changes that count: with the default margin half of the way to the training set.
ASSUMED = 2.0


@dataclass(frozen=True)
class ClaimPlan:
    """What the budget can decide about one claim. Effects are in the instrument's unit; ``*_gap`` in shares of the gap."""

    experiment: str
    index: int
    say: str
    measure: str
    expect: str
    n_runs: int
    m_claims: int
    sd_runs: float | None
    sd_source: str
    margin: float | None
    gap: float | None
    effect: float | None  # the smallest change found, or for "no change" the smallest margin that nothing stays inside
    effect_gap: float | None
    smallest_gap: float | None  # where the gap is unknown: the gap from which on the budget decides the claim
    decidable: bool
    reason: str
    anyway: bool = False
    looks: tuple[int, ...] = ()  # trainings of each arm at the planned looks
    chances: tuple[float, ...] = ()  # of an answer by each look, if the change is `assumed`; empty where that is not known in advance
    assumed: float | None = None
    kind: Literal["claim", "curve"] = "claim"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def plan_claims(
    experiments: Mapping[str, ExperimentSpec],
    *,
    replicates: Mapping[str, int],
    seeds: int,
    instruments: Mapping[str, InstrumentFacts],
    gaps: Mapping[QuestionId, float | None] | None = None,
    run_sds: Mapping[str, RunSd] | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
    looks: Sequence[int] = PLANNED.trainings,
) -> list[ClaimPlan]:
    """Return what ``replicates`` (trainings of each arm) and ``seeds`` (pictures a training) can decide of each claim, in order.

    ``gaps`` maps a question to training set - base where that is known before the run; ``run_sds`` replaces the
    shipped spreads; ``looks`` are the trainings at which the chances of an answer are told. A claim that leans on controls must pass each
    of them too. A difference of two trained cells is taken to spread sqrt(2) times as much as one from the base: as if both trainings
    were independent. An experiment's curves come behind its claims; their trend is taken to spread as if the doses of a training were
    independent, which errs on the safe side. An instrument whose spread is unknown is not refused: its chances are not known in advance.
    """
    spreads = load_run_sds() if run_sds is None else run_sds
    plans = []
    for name, experiment in experiments.items():
        asked = list(_asked(name, experiment))
        for which, claim, widening in asked:
            arms = [str(cell.arm) for cell in (claim.cell, claim.versus_cell) if not cell.is_base]
            own = which.kind == "curve"  # its own control
            question = _Question(
                id=which, claim=claim, facts=instruments.get(claim.measure), spread=_spread_of(claim, spreads),
                widening=widening, n_runs=min((replicates[arm] for arm in arms), default=0), seeds=seeds, m_claims=len(asked),
                n_controls=0 if own else int(claim.versus_cell.is_base and claim.expect != "no change") + int(claim.needs_trigger),
                gap=(gaps or {}).get(which), alpha=alpha, power=power, looks=tuple(looks),
            )  # fmt: skip
            plans.append(_plan(question))
    return plans


def _asked(name: str, experiment: ExperimentSpec) -> Iterator[tuple[QuestionId, ClaimSpec, float]]:
    """Yield the experiment's claims, then the curves that have doses enough for a trend, each with its widening."""
    for index, claim in enumerate(experiment.claims):
        yield QuestionId(name, "claim", index), claim, _widening(claim)
    for index, curve in enumerate(experiment.curves):
        widening = float(np.linalg.norm(trend_weights(len(curve.at))))
        if widening > 0:
            yield QuestionId(name, "curve", index), curve.as_claim(curve.cell), widening


def _spread_of(claim: ClaimSpec, spreads: Mapping[str, RunSd]) -> RunSd | None:
    """Return the shipped spread of a claim's instrument; None of a claim that is about something else than its change."""
    return None if claim.ahead_of or claim.between_trainings else spreads.get(claim.measure.partition("[")[0])


def _widening(claim: ClaimSpec) -> float:
    """Return how much more a difference is taken to spread than one from the base, which is what the shipped spreads are of."""
    return math.sqrt(sum(not cell.is_base for cell in (claim.cell, claim.versus_cell)) or 1)


@dataclass(frozen=True)
class _Question:
    """A claim with everything that planning it needs."""

    id: QuestionId
    claim: ClaimSpec
    facts: InstrumentFacts | None
    spread: RunSd | None
    widening: float
    n_runs: int
    seeds: int
    m_claims: int
    n_controls: int
    gap: float | None
    alpha: float
    power: float
    looks: tuple[int, ...]

    @property
    def share(self) -> float:
        """The margin as a share of the gap."""
        return DEFAULT_MARGIN if self.claim.margin is None else self.claim.margin

    @property
    def margin(self) -> float | None:
        """The smallest change that counts; None where it follows from a gap that is not known."""
        if self.claim.margin_absolute is not None:
            return self.claim.margin_absolute
        return None if self.gap is None else self.share * abs(self.gap)

    @property
    def bias(self) -> float:
        """What of the instrument's bias need not cancel."""
        return 0.0 if self.facts is None else abs(self.facts.bias)

    @property
    def scatter(self) -> Scatter | None:
        """How the contrast scatters; None where that is not known in advance."""
        if self.spread is None:
            return None
        between, within = self.spread.parts
        span = self.facts.span if self.facts is not None and self.spread.classes else 0.0
        return Scatter(self.widening * between, self.widening * within, self.spread.likeness, span)

    def budget(self, trainings: tuple[int, ...], n_controls: int | None = None) -> Budget:
        """Return the budget of some looks."""
        controls = self.n_controls if n_controls is None else n_controls
        return Budget(trainings, self.seeds, self.m_claims, controls, self.alpha)


def _plan(question: _Question) -> ClaimPlan:
    effect, smallest_gap = _decidable(question)
    decidable, reason = _verdict(question, effect, smallest_gap)
    assumed, chances = _chances(question)
    spread, gap = question.spread, question.gap
    return ClaimPlan(
        experiment=question.id.experiment, kind=question.id.kind, index=question.id.index, say=question.claim.say,
        measure=question.claim.measure,
        expect=question.claim.expect, n_runs=question.n_runs, m_claims=question.m_claims,
        sd_runs=None if spread is None else question.widening * spread.at(question.seeds),
        sd_source="" if spread is None else spread.source,
        margin=question.margin, gap=gap, effect=effect, effect_gap=effect / abs(gap) if effect is not None and gap else None,
        smallest_gap=smallest_gap, decidable=decidable, reason=reason, anyway=question.claim.anyway,
        looks=question.looks if chances else (), chances=chances, assumed=assumed,
    )  # fmt: skip


def _decidable(question: _Question) -> tuple[float | None, float | None]:
    """Return the size that is decided by the budget's last look, or where the gap is unknown the gap from which on the claim can be."""
    scatter = question.scatter
    if scatter is None or question.n_runs < MIN_RUNS:
        return None, None
    budget = question.budget(trainings_up_to(question.n_runs, question.looks))
    if question.claim.expect == "no change":
        inside = smallest(needed_margins(scatter, budget), question.power) + question.bias
        return inside, inside / question.share if question.margin is None else None
    if question.margin is not None:
        return smallest(needed_effects(scatter, budget, question.margin), question.power) + question.bias, None
    if question.share >= 1:
        return None, None
    # no change is larger than the gap itself: gap >= share * gap + own, and gap >= what the controls need
    return None, (smallest(needed_effects(scatter, budget, 0.0), question.power) + question.bias) / (1 - question.share)


def _chances(question: _Question) -> tuple[float | None, tuple[float, ...]]:
    """Return the change that is assumed, and the chance of an answer by each planned look if it is there; none where it is unknown."""
    scatter, margin = question.scatter, question.margin
    if scatter is None or margin is None or question.n_runs == 0:
        return None, ()
    budget = question.budget(question.looks)
    if question.claim.expect == "no change":
        return 0.0, by_look(needed_margins(scatter, budget) + question.bias <= margin)
    return ASSUMED * margin, by_look(needed_effects(scatter, budget, margin) + question.bias <= ASSUMED * margin)


def _verdict(question: _Question, effect: float | None, smallest_gap: float | None) -> tuple[bool, str]:
    """Return whether the claim can be decided, and why, in a sentence."""
    facts, claim, margin, gap = question.facts, question.claim, question.margin, question.gap
    if facts is None:
        return False, f"there is no instrument {claim.measure}"
    if not facts.carried:
        return False, not_carried(facts.name, facts.note)
    if question.n_runs < MIN_RUNS:
        return False, f"{question.n_runs} trainings; a verdict about the recipe needs at least {MIN_RUNS}"
    if question.spread is None:
        return True, f"not known in advance: how much {claim.measure} spreads between trainings has not been measured"
    if margin is None:
        if smallest_gap is None or smallest_gap > facts.span:
            return False, "even a gap as wide as the instrument's range would not be enough; give margin_absolute or more trainings"
        told = f"can be decided if the training set and the base differ by {amount(smallest_gap, facts.unit)} or more"
        return True, f"the gap is not known in advance; {told}"
    assert effect is not None
    if gap is not None and claim.margin_absolute is None and abs(gap) <= facts.smallest_gap:
        return False, gap_too_small(gap, facts.smallest_gap, facts.unit)
    if claim.expect == "no change":
        told = f"it can be shown that the change stays below {amount(effect, facts.unit)}; the margin is {amount(margin, facts.unit)}"
        return effect <= margin, told if effect <= margin else told + "; more trainings or a wider margin would help"
    largest = facts.span if gap is None else abs(gap)
    limit = "the instrument's range is" if gap is None else "the training set and the base differ by"
    told = f"a change of {amount(effect, facts.unit)} would be found"
    return effect <= largest, told if effect <= largest else f"{told}, but {limit} {amount(largest, facts.unit)}; more trainings would help"

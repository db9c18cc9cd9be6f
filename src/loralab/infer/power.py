"""What a budget can decide, claim by claim, before anything is trained.

In: the experiments, the runs of each arm, the pictures a run, the instruments, the gaps as far as they are known, and the
spread between runs that ships in ``run_sd.json``. Out: one ``ClaimPlan`` a claim. The formulas stand in ``decidable``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np

from loralab.infer.curves import trend_weights
from loralab.infer.decidable import MIN_RUNS, decidable_effect, decidable_no_change, runs_needed
from loralab.infer.estimate import half_width_floor
from loralab.infer.judge import DEFAULT_MARGIN, InstrumentFacts
from loralab.infer.words import amount, gap_too_small, margin_in_error, not_carried
from loralab.spec.models import ClaimSpec, ExperimentSpec
from loralab.spec.questions import QuestionId

__all__ = ["ClaimPlan", "RunSd", "decidable_effect", "decidable_no_change", "load_run_sds", "plan_claims", "runs_needed"]


@dataclass(frozen=True)
class RunSd:
    """The spread between runs of a run's mean paired difference, in the instrument's unit, at ``seeds`` pictures a run."""

    sd: float
    seeds: int
    n_runs: int
    source: str
    classes: bool = False  # whether a picture reads as one of a few values (a circle or none): then the interval has a floor
    between: float | None = None  # standard deviation between runs without the pictures' share; None where it was not estimated
    within: float | None = None  # standard deviation between the pictures of a run

    def at(self, seeds: int) -> float:
        """Return the spread at ``seeds`` pictures a run: sqrt(between^2 + within^2 / seeds) where both are known.

        From one figure it is not known how much of the spread the pictures make. The safe side is taken: with fewer pictures all
        of it is theirs, with more none of it.
        """
        if self.between is not None and self.within is not None:
            return math.sqrt(self.between**2 + self.within**2 / seeds)
        return self.sd * math.sqrt(max(1.0, self.seeds / seeds))


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
    kind: Literal["claim", "curve"] = "claim"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def load_run_sds() -> dict[str, RunSd]:
    """Return the shipped spread between runs of each instrument, by name."""
    text = resources.files("loralab.infer").joinpath("run_sd.json").read_text(encoding="utf-8")
    return {name: RunSd(**row) for name, row in json.loads(text)["instruments"].items()}


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
) -> list[ClaimPlan]:
    """Return what ``replicates`` (runs of each arm) and ``seeds`` (pictures a run) can decide of each claim, in order.

    ``gaps`` maps a question to training set - base where that is known before the run; ``run_sds`` replaces the
    shipped spreads. A claim that leans on controls must pass each of them too: the allowed failure (1 - power) is shared
    among the claim and its controls. A difference of two trained cells (a control's, or a claim's between arms or prompts) is taken to
    spread sqrt(2) times as much as one from the base: as if both trainings were independent. An experiment's curves
    come behind its claims; their trend is taken to spread as if the doses of a run were independent, which errs on the safe side.
    """
    spreads = load_run_sds() if run_sds is None else run_sds
    plans = []
    for name, experiment in experiments.items():
        asked = list(_asked(name, experiment))
        for question, claim, widening in asked:
            arms = [str(cell.arm) for cell in (claim.cell, claim.versus_cell) if not cell.is_base]
            n_runs = min((replicates[arm] for arm in arms), default=0)
            facts, spread = instruments.get(claim.measure), spreads.get(claim.measure.partition("[")[0])
            own = question.kind == "curve"  # its own control
            budget = _Budget(
                n_runs=n_runs,
                n_images=n_runs * seeds,
                m_claims=len(asked),
                n_controls=0 if own else int(claim.versus_cell.is_base and claim.expect != "no change") + int(claim.needs_trigger),
                sd_runs=widening * spread.at(seeds) if spread else None,
                class_span=facts.span if facts and spread and spread.classes else 0.0,
                alpha=alpha,
                power=power,
            )
            gap = (gaps or {}).get(question)
            plans.append(_plan_claim(question, claim, budget, spread.source if spread else "", facts, gap))
    return plans


def _asked(name: str, experiment: ExperimentSpec) -> Iterator[tuple[QuestionId, ClaimSpec, float]]:
    """Yield the experiment's claims, then the curves that have doses enough for a trend, each with its widening."""
    for index, claim in enumerate(experiment.claims):
        yield QuestionId(name, "claim", index), claim, _widening(claim)
    for index, curve in enumerate(experiment.curves):
        widening = float(np.linalg.norm(trend_weights(len(curve.at))))
        if widening > 0:
            yield QuestionId(name, "curve", index), curve.as_claim(curve.cell), widening


def _widening(claim: ClaimSpec) -> float:
    """Return how much more a difference is taken to spread than one from the base, which is what the shipped spreads are of."""
    return math.sqrt(sum(not cell.is_base for cell in (claim.cell, claim.versus_cell)) or 1)


@dataclass(frozen=True)
class _Budget:
    n_runs: int
    n_images: int
    m_claims: int
    n_controls: int
    sd_runs: float | None
    class_span: float
    alpha: float
    power: float

    @property
    def floor(self) -> float:
        """The half width below which the interval of a class-valued instrument never falls."""
        level = 1 - self.alpha / self.m_claims
        if not self.class_span:
            return 0.0
        return half_width_floor(n_runs=self.n_runs, n_pairs=self.n_images, level=level, few_valued=True, span=self.class_span, error=0.0)

    def beyond(self, margin: float, spread: float = 1.0) -> float:
        """Return the smallest true change found beyond ``margin``, at this claim's share of the allowed failure."""
        assert self.sd_runs is not None
        power = 1 - (1 - self.power) / (1 + self.n_controls)
        return decidable_effect(spread * self.sd_runs, self.n_runs, self.m_claims, margin, self.alpha, power, self.floor)

    def beyond_controls(self) -> float:
        """Return the smallest true change that exceeds every required control; 0 without one."""
        return self.beyond(0.0, spread=math.sqrt(2)) if self.n_controls else 0.0

    def inside(self) -> float:
        """Return the smallest margin inside which a true zero is called "no change"."""
        assert self.sd_runs is not None
        return decidable_no_change(self.sd_runs, self.n_runs, self.m_claims, self.alpha, self.power, self.floor)


def _plan_claim(
    question: QuestionId, claim: ClaimSpec, budget: _Budget, source: str, facts: InstrumentFacts | None, gap: float | None
) -> ClaimPlan:
    share = DEFAULT_MARGIN if claim.margin is None else claim.margin
    margin = claim.margin_absolute if claim.margin_absolute is not None else None if gap is None else share * abs(gap)
    effect, smallest_gap = _decidable(claim, budget, share, margin)
    decidable, reason = _verdict(claim, budget, facts, gap, margin, effect, smallest_gap)
    return ClaimPlan(
        experiment=question.experiment,
        kind=question.kind,
        index=question.index,
        say=claim.say,
        measure=claim.measure,
        expect=claim.expect,
        n_runs=budget.n_runs,
        m_claims=budget.m_claims,
        sd_runs=budget.sd_runs,
        sd_source=source,
        margin=margin,
        gap=gap,
        effect=effect,
        effect_gap=effect / abs(gap) if effect is not None and gap else None,
        smallest_gap=smallest_gap,
        decidable=decidable,
        reason=reason,
        anyway=claim.anyway,
    )


def _decidable(claim: ClaimSpec, budget: _Budget, share: float, margin: float | None) -> tuple[float | None, float | None]:
    """Return the decidable effect, or where the gap is unknown the gap from which on the claim can be decided."""
    if budget.sd_runs is None or budget.n_runs < MIN_RUNS:
        return None, None
    if claim.expect == "no change":
        return budget.inside(), budget.inside() / share if margin is None else None
    if margin is not None:
        return max(budget.beyond(margin), budget.beyond_controls()), None
    # no change is larger than the gap itself: gap >= share * gap + own, and gap >= what the controls need
    return None, max(budget.beyond(0.0) / (1 - share), budget.beyond_controls()) if share < 1 else None


def _verdict(
    claim: ClaimSpec,
    budget: _Budget,
    facts: InstrumentFacts | None,
    gap: float | None,
    margin: float | None,
    effect: float | None,
    smallest_gap: float | None,
) -> tuple[bool, str]:
    """Return whether the claim can be decided, and why, in a sentence."""
    if facts is None or budget.sd_runs is None:
        return False, f"nothing is known about how much {claim.measure} spreads between runs"
    if not facts.carried:
        return False, not_carried(facts.name, facts.note)
    if budget.n_runs < MIN_RUNS:
        return False, f"{budget.n_runs} runs; a verdict about the recipe needs at least {MIN_RUNS}"
    if margin is None:
        if smallest_gap is None or smallest_gap > facts.span:
            return False, "even a gap as wide as the instrument's range would not do; give margin_absolute or more runs"
        return (
            True,
            f"the gap is unknown before the run; decided if training set and base differ by {amount(smallest_gap, facts.unit)} or more",
        )
    assert effect is not None
    if gap is not None and claim.margin_absolute is None and abs(gap) <= facts.smallest_gap:
        return False, gap_too_small(gap, facts.smallest_gap, facts.unit)
    left = facts.left_in_means(budget.n_images)
    if margin <= left:
        return False, margin_in_error(margin, left, facts.unit, given=claim.margin_absolute is not None)
    if claim.expect == "no change":
        told = f"no change can be told inside {amount(effect, facts.unit)}, and the margin is {amount(margin, facts.unit)}"
        return effect <= margin, told if effect <= margin else told + "; more runs or a wider margin would do"
    largest = facts.span if gap is None else abs(gap)
    limit = "the instrument's range is" if gap is None else "the training set and the base differ by"
    told = f"a change of {amount(effect, facts.unit)} is found"
    return effect <= largest, told if effect <= largest else f"{told}, but {limit} {amount(largest, facts.unit)}; more runs would do"

"""From readings to verdicts: each claim's cells are paired, compared with a margin, checked against the controls, and put into words.

In: the experiments, the frame of readings, the mean readings of the training sets, what each instrument's card says, and
the control cells of each claim. Out: one ``Verdict`` a claim, in order. The rule is described in ``docs/method.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from loralab.errors import lab_error
from loralab.infer import words
from loralab.infer.case import (
    DEFAULT_MARGIN,
    DIFFERENCE,
    Case,
    ControlCells,
    CurveCells,
    Gap,
    InstrumentFacts,
    OwnBases,
    Weights,
    find_gap,
    margin_refusal,
    more_runs,
    too_few,
    why_unreadable,
)
from loralab.infer.curves import judge_curve
from loralab.infer.decidable import MIN_RUNS
from loralab.infer.estimate import estimate_contrast, finding_of, half_width_floor
from loralab.infer.pairs import CellReadings, RunEffects, check_readings, replicates_of, run_effects
from loralab.infer.verdict import Contrast, ControlCheck, ControlName, ControlStatus, Finding, Ruling, Verdict
from loralab.spec.cells import Cell
from loralab.spec.models import ClaimSpec, ExperimentSpec
from loralab.spec.questions import QuestionId
from loralab.spec.sources import is_base

__all__ = ["DEFAULT_MARGIN", "ControlCells", "CurveCells", "InstrumentFacts", "OwnBases", "judge"]

#: transfer (the share of the gap that was crossed) is shown only when the gap rests on this many base pictures.
MIN_TRANSFER_IMAGES = 200


def judge(
    experiments: Mapping[str, ExperimentSpec],
    readings: pl.DataFrame,
    *,
    training: Mapping[tuple[str, str], float | None],
    instruments: Mapping[str, InstrumentFacts],
    controls: Mapping[QuestionId, ControlCells],
    curves: Mapping[QuestionId, CurveCells] | None = None,
    alpha: float = 0.05,
    own: OwnBases | None = None,
) -> list[Verdict]:
    """Return one verdict a claim and curve, in the order of the experiments, an experiment's claims before its curves.

    ``training`` maps (arm, measure) to the mean reading of the arm's training set, in the instrument's unit; ``controls``
    maps a claim to its control cells, where a claim without an entry has none; ``curves`` maps a curve to its cells, where a curve
    without an entry was not drawn and is left out. ``alpha`` is the
    error rate of one experiment, shared by its claims and curves. ``own`` says which arms have a base of their own: what is said here
    of the base is then said of theirs, and two arms on two bases are compared by what each changes on its own. Raises
    LabError("measurement") for readings that break the contract, or an instrument without facts. Source: ``docs/method.md``.
    """
    check_readings(readings)
    verdicts = []
    for name, experiment in experiments.items():
        drawn = {question: cells for question, cells in (curves or {}).items() if question.experiment == name}
        shared = _Shared(name, readings, training, instruments, alpha, len(experiment.claims) + len(drawn), own or OwnBases())
        for index, claim in enumerate(experiment.claims):
            question = QuestionId(name, "claim", index)
            verdicts.append(_judge_claim(shared.case(question, claim, controls.get(question, ControlCells(None, None)))))
        for question, cells in sorted(drawn.items(), key=lambda item: item[0].index):
            curve = experiment.curves[question.index]
            claim = curve.as_claim(cells.cells[-1])
            damage = shared.case(question, claim.model_copy(update={"measure": curve.damage})) if cells.unrelated else None
            verdicts.append(judge_curve(shared.case(question, claim), curve, cells, damage))
    return verdicts


@dataclass(frozen=True)
class _Shared:
    """What the questions of one experiment share."""

    experiment: str
    readings: pl.DataFrame
    training: Mapping[tuple[str, str], float | None]
    instruments: Mapping[str, InstrumentFacts]
    alpha: float
    m_claims: int
    own: OwnBases

    def facts(self, claim: ClaimSpec) -> InstrumentFacts:
        """Return what the cards say on the bases of both sides, the worse of two."""
        arms = [cell for cell in (claim.cell, claim.versus_cell) if not cell.is_base] or [claim.cell]
        bases = dict.fromkeys(beneath for cell in arms if is_base(beneath := self.own.base(cell).arm))
        tables = [self.own.instruments.get(base, self.instruments) for base in bases]
        if any(claim.measure not in table for table in tables):
            expected = "one of " + ", ".join(self.instruments)
            raise lab_error("measurement", f"{self.experiment}: no facts about the instrument {claim.measure}", expected)
        found = [table[claim.measure] for table in tables]
        worst = max(found, key=lambda facts: (not facts.carried, facts.smallest_gap))
        return replace(worst, error=max(facts.error for facts in found), bias=max((facts.bias for facts in found), key=abs))

    def case(self, question: QuestionId, claim: ClaimSpec, controls: ControlCells | None = None) -> Case:
        measure = claim.measure
        return Case(
            question=question,
            claim=claim,
            readings=self.readings.filter(pl.col("measure") == measure),
            training_mean=self.training.get((str(claim.cell.arm), measure)),
            facts=self.facts(claim),
            controls=controls or ControlCells(None, None),
            alpha=self.alpha,
            m_claims=self.m_claims,
            own=self.own,
        )


def _judge_claim(case: Case) -> Verdict:
    sides = (case.side(case.claim.cell), case.side(case.claim.versus_cell))
    beneath = tuple(case.side(case.own.base(cell)) for cell in (case.claim.cell, case.claim.versus_cell)) if case.across_bases else ()
    weights = (1, -1, -1, 1)[: 2 + len(beneath)]
    runs = case.effects((*sides, *beneath), weights)
    gap = find_gap(case)
    broken = why_unreadable(case, sides)
    contrast = case.contrast(runs, weights) if runs.n_runs >= MIN_RUNS and not broken else None
    refusal = broken or margin_refusal(case, runs, gap)
    raw = finding_of(contrast, gap.margin) if contrast is not None and gap.margin is not None and not refusal else None
    checks = _control_checks(case, sides, _direction(case.claim, raw, contrast))
    finding, verdict, reason, more = _rule(case, runs, weights, contrast, gap, refusal, raw, checks)
    means = [float(np.mean(side)) for side in runs.side_means] if runs.n_runs else [None, None]
    return Verdict(
        experiment=case.question.experiment,
        kind=case.question.kind,
        index=case.question.index,
        say=case.claim.say,
        measure=case.claim.measure,
        cell=str(case.claim.cell),
        versus=str(case.claim.versus_cell),
        versus_base=str(case.claim.versus_cell.arm) if case.claim.versus_cell.is_base else None,
        expect=case.claim.expect,
        article=case.claim.article,
        finding=finding,
        verdict=verdict,
        reason=reason + _measurability_note(case, sides) + (words.each_on_its_own() if case.across_bases and contrast is not None else ""),
        contrast=contrast,
        margin=gap.margin,
        margin_source=gap.margin_source,
        cell_mean=means[0],
        versus_mean=means[1],
        training_mean=case.training_mean,
        gap=gap.gap,
        transfer=_transfer(case, sides[0], gap),
        measurable_cell=sides[0].measurable_share,
        measurable_versus=sides[1].measurable_share,
        n_excluded_runs=_n_excluded(case, sides, runs),
        controls=checks,
        more_runs=more,
    )


def _direction(claim: ClaimSpec, raw: Finding | None, contrast: Contrast | None) -> int:
    """Return the sign in which a control must be exceeded: the finding's, else the expected one, else the estimate's."""
    signs = {"higher": 1, "lower": -1}
    if raw in signs:
        return signs[raw]
    if claim.expect in signs:
        return signs[claim.expect]
    return -1 if contrast is not None and contrast.effect < 0 else 1


def _control_checks(case: Case, sides: tuple[CellReadings, CellReadings], direction: int) -> tuple[ControlCheck, ...]:
    """Return the checks that apply: those that the claim needs, run or not, and the others where their pictures exist."""
    claim, cells = case.claim, case.controls
    versus = claim.versus_cell
    learned = versus.is_base and claim.expect != "no change"
    checks = []
    own = cells.placebo is not None and cells.placebo.arm in (claim.cell.arm, versus.arm)  # the placebo is itself a side of the claim
    if not own and (learned or cells.placebo is not None):
        checks.append(_check(case, "placebo", learned, cells.placebo, (sides[0],), (1, -1), direction))
    if cells.null is not None:
        checks.append(_check(case, "null", False, cells.null, (sides[0],), (1, -1), direction))
    if claim.needs_trigger or cells.no_trigger is not None:
        base = case.side(case.base)
        checks.append(_check(case, "trigger", claim.needs_trigger, cells.no_trigger, (sides[0], base), (1, -1, -1, 1), direction))
    return tuple(checks)


def _check(
    case: Case,
    name: ControlName,
    required: bool,
    cell: Cell | None,
    ours: tuple[CellReadings, ...],
    weights: tuple[int, ...],
    direction: int,
) -> ControlCheck:
    """Return whether the change exceeds the control's, in ``direction``, with an interval of the claim's own level."""

    def check(status: ControlStatus, contrast: Contrast | None = None) -> ControlCheck:
        return ControlCheck(name, words.CONTROL_SAYS[name], required, status, contrast, "" if cell is None else str(cell))

    if cell is None:
        return check("not_run")
    theirs = (case.side(cell),) if name in ("placebo", "null") else (case.side(cell), case.side(case.own.base(cell)))
    sides = ours + theirs
    runs = case.effects(sides, weights)
    if not case.facts.carried or any(too_few(case.facts, side) for side in sides):
        return check("not_measurable")
    if runs.n_runs < MIN_RUNS:
        return check("not_run")
    contrast = case.contrast(runs, weights)
    bound = contrast.low if direction > 0 else -contrast.high
    return check("passed" if bound > 0 else "failed", contrast)


def _rule(
    case: Case,
    runs: RunEffects,
    weights: Weights,
    contrast: Contrast | None,
    gap: Gap,
    refusal: str,
    raw: Finding | None,
    checks: tuple[ControlCheck, ...],
) -> tuple[Finding | None, Ruling, str, int | None]:
    """Return finding, verdict, reason and the runs needed; the one place where numbers become a verdict."""
    if refusal:
        return None, "not_measurable", refusal, None
    if contrast is None or raw is None or gap.margin is None:
        return None, "inconclusive", words.too_few_runs(runs.n_runs, MIN_RUNS), MIN_RUNS
    unit = case.facts.unit
    if raw == "unclear":
        more = more_runs(case, runs, contrast, gap.margin, weights)
        return raw, "inconclusive", words.unclear(contrast, gap.margin, unit, more), more
    blocking = next((check for check in checks if check.required and check.status != "passed"), None)
    if raw in ("higher", "lower") and blocking is not None:
        more = _more_runs_for_control(case, runs, blocking, 1 if raw == "higher" else -1)
        return "unclear", "inconclusive", words.control_failed(contrast, blocking, unit, more), more
    ruling: Ruling = "supported" if raw == case.claim.expect else "contradicted"
    return raw, ruling, words.decided(raw, contrast, gap.margin, unit, checks), None


def _more_runs_for_control(case: Case, runs: RunEffects, check: ControlCheck, direction: int) -> int | None:
    if check.contrast is None or check.contrast.effect * direction <= 0:
        return None
    return more_runs(case, runs, check.contrast, 0.0, (1, -1, -1, 1) if check.name == "trigger" else DIFFERENCE)


def _transfer(case: Case, cell: CellReadings, gap: Gap) -> float | None:
    """Return (cell - base) / (training set - base), or None unless the gap exceeds 1 sd of at least 200 base pictures."""
    if gap.gap is None or gap.sd_base is None or gap.n_base < MIN_TRANSFER_IMAGES or abs(gap.gap) <= gap.sd_base:
        return None
    runs = case.effects((cell, case.side(case.base)), (1, -1))
    return float(np.mean(runs.effects)) / gap.gap if runs.n_runs else None


def _n_excluded(case: Case, sides: tuple[CellReadings, CellReadings], runs: RunEffects) -> int:
    """Return how many replicates, of those that the base or either side has, gave no pair."""
    base = case.side(case.base)
    return len(replicates_of((*sides, base)) - set(runs.replicates))


def _measurability_note(case: Case, sides: tuple[CellReadings, CellReadings]) -> str:
    """Return a clause where one side could be measured clearly less often than the other, else nothing."""
    as_shares = tuple(CellReadings(s.replicate, s.seed, s.measured.astype(float), np.ones_like(s.measured)) for s in sides)
    runs = run_effects(as_shares, (1, -1), "share")
    if runs.n_runs < MIN_RUNS:
        return ""
    floor = half_width_floor(n_runs=runs.n_runs, n_pairs=runs.n_pairs, level=case.level, few_valued=True, span=1.0, error=0.0)
    contrast = estimate_contrast(runs.effects, n_images=runs.n_pairs, level=case.level, floor=floor)
    if contrast.low <= 0 <= contrast.high:
        return ""
    return words.measured_unequally(sides[0].measurable_share, sides[1].measurable_share, counts_as_no=case.facts.kind == "share")

"""From readings to verdicts: each claim's cells are paired, compared with a margin, checked against the controls, and put into words.

In: the experiments, the frame of readings, the mean readings of the training sets, what each instrument's card says, and
the control cells of each claim. Out: one ``Verdict`` a claim, in order. The rule is described in ``docs/method.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from loralab.errors import lab_error
from loralab.infer import words
from loralab.infer.decidable import MIN_RUNS, runs_needed
from loralab.infer.estimate import estimate_contrast, finding_of, half_width_floor, t_critical
from loralab.infer.pairs import CellReadings, RunEffects, cell_readings, check_readings, replicates_of, run_effects
from loralab.infer.verdict import Contrast, ControlCheck, ControlName, ControlStatus, Finding, Ruling, Verdict
from loralab.spec.cells import BASE_ARM, Cell
from loralab.spec.models import ClaimSpec, ExperimentSpec

DEFAULT_MARGIN = 0.25
#: a continuous claim needs this share of measurable pictures on both sides.
MIN_MEASURABLE = 0.85
#: transfer (the share of the gap that was crossed) is shown only when the gap rests on this many base pictures.
MIN_TRANSFER_IMAGES = 200


@dataclass(frozen=True)
class InstrumentFacts:
    """What the verdict needs to know of an instrument and its calibration card; numbers in the instrument's unit.

    ``bias`` is the card's mean error (signed), ``error`` its typical error on one picture. Raises LabError("measurement")
    where a number is not finite, the range is empty, or the error is negative.
    """

    name: str
    kind: Literal["continuous", "share"]
    low: float
    high: float
    unit: str
    bias: float
    error: float
    carried: bool
    note: str

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, self.bias, self.error)
        if not (all(math.isfinite(number) for number in numbers) and self.low < self.high and self.error >= 0):
            found = f"{self.name}: range {self.low} to {self.high}, bias {self.bias}, error {self.error}"
            raise lab_error("measurement", found, "finite numbers, low < high, error >= 0", "make the instrument's card again")

    @property
    def span(self) -> float:
        """The width of the instrument's range."""
        return self.high - self.low

    @property
    def smallest_gap(self) -> float:
        """A gap no wider than this cannot be told from none: the card's error on one picture, or its bias if larger."""
        return max(self.error, abs(self.bias))

    def left_in_means(self, n_pairs: int) -> float:
        """Return what of the card's error may be left in a difference of two means over ``n_pairs`` pictures each.

        Errors of single pictures average out; the bias does not where the two sides look different, as their biases
        then need not cancel. So: the whole bias, plus one standard error of the single-picture error.
        """
        return abs(self.bias) + self.error * math.sqrt(2 / n_pairs)


@dataclass(frozen=True)
class ControlCells:
    """The cells that a claim's change is held against; None where the study has none."""

    placebo: Cell | None
    no_trigger: Cell | None


@dataclass(frozen=True)
class _Case:
    """One claim with everything that judging it reads."""

    experiment: str
    index: int
    claim: ClaimSpec
    readings: pl.DataFrame
    training_mean: float | None
    facts: InstrumentFacts
    controls: ControlCells
    alpha: float
    m_claims: int

    @property
    def level(self) -> float:
        return 1 - self.alpha / self.m_claims

    def side(self, cell: Cell) -> CellReadings:
        return cell_readings(self.readings, cell, self.claim.measure)

    def effects(self, sides: tuple[CellReadings, ...], weights: tuple[int, ...]) -> RunEffects:
        return run_effects(sides, weights, self.facts.kind)

    def contrast(self, runs: RunEffects, n_cells: int = 2) -> Contrast:
        floor = half_width_floor(
            n_runs=runs.n_runs,
            n_pairs=runs.n_pairs,
            level=self.level,
            few_valued=runs.few_valued,
            span=self.facts.span * n_cells / 2,
            error=self.facts.error * math.sqrt(n_cells / 2),
        )
        return estimate_contrast(runs.effects, n_images=runs.n_pairs, level=self.level, floor=floor)


@dataclass(frozen=True)
class _Gap:
    """How far the training set lies from the base at the claim's prompt, and the margin that follows."""

    gap: float | None
    sd_base: float | None
    n_base: int
    margin: float | None
    margin_source: str
    refusal: str  # why there is no margin; empty where there is one


def judge(
    experiments: Mapping[str, ExperimentSpec],
    readings: pl.DataFrame,
    *,
    training: Mapping[tuple[str, str], float | None],
    instruments: Mapping[str, InstrumentFacts],
    controls: Mapping[tuple[str, int], ControlCells],
    alpha: float = 0.05,
) -> list[Verdict]:
    """Return one verdict a claim, in the order of the experiments and of their claims.

    ``training`` maps (arm, measure) to the mean reading of the arm's training set, in the instrument's unit; ``controls``
    maps (experiment, index of the claim) to its control cells, where a claim without an entry has none. ``alpha`` is the
    error rate of one experiment, shared by its claims. Raises LabError("measurement") for readings that break the
    contract, or an instrument without facts. Source: this project's rule, ``docs/method.md``.
    """
    check_readings(readings)
    verdicts = []
    for name, experiment in experiments.items():
        for index, claim in enumerate(experiment.claims):
            if claim.measure not in instruments:
                raise lab_error("measurement", f"{name}: no facts about the instrument {claim.measure}", "one of " + ", ".join(instruments))
            case = _Case(
                experiment=name,
                index=index,
                claim=claim,
                readings=readings.filter(pl.col("measure") == claim.measure),
                training_mean=training.get((claim.cell.arm, claim.measure)),
                facts=instruments[claim.measure],
                controls=controls.get((name, index), ControlCells(None, None)),
                alpha=alpha,
                m_claims=len(experiment.claims),
            )
            verdicts.append(_judge_claim(case))
    return verdicts


def _judge_claim(case: _Case) -> Verdict:
    sides = (case.side(case.claim.cell), case.side(case.claim.versus_cell))
    runs = case.effects(sides, (1, -1))
    gap = _find_gap(case)
    unreadable = _unreadable(case, sides)
    contrast = case.contrast(runs) if runs.n_runs >= MIN_RUNS and not unreadable else None
    refusal = unreadable or _margin_refusal(case, runs, gap)
    raw = finding_of(contrast, gap.margin) if contrast is not None and gap.margin is not None and not refusal else None
    checks = _control_checks(case, sides, _direction(case.claim, raw, contrast))
    finding, verdict, reason, more = _rule(case, runs, contrast, gap, refusal, raw, checks)
    means = [float(np.mean(side)) for side in runs.side_means] if runs.n_runs else [None, None]
    return Verdict(
        experiment=case.experiment,
        index=case.index,
        say=case.claim.say,
        measure=case.claim.measure,
        cell=str(case.claim.cell),
        versus=str(case.claim.versus_cell),
        expect=case.claim.expect,
        article=case.claim.article,
        finding=finding,
        verdict=verdict,
        reason=reason + _measurability_note(case, sides),
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


def _find_gap(case: _Case) -> _Gap:
    """Return the gap, from every base picture at the claim's prompt, and the margin that the claim asks for."""
    claim, facts = case.claim, case.facts
    base = case.side(claim.cell.on(BASE_ARM)).known(facts.kind)
    sd_base = float(np.std(base, ddof=1)) if len(base) > 1 else None
    gap = case.training_mean - float(np.mean(base)) if case.training_mean is not None and len(base) else None
    if claim.margin_absolute is not None:
        return _Gap(gap, sd_base, len(base), claim.margin_absolute, "given", "")
    source = words.margin_source(DEFAULT_MARGIN if claim.margin is None else claim.margin)
    if gap is None:
        return _Gap(None, sd_base, len(base), None, source, words.no_gap(case.training_mean is None))
    if abs(gap) <= facts.smallest_gap:
        return _Gap(gap, sd_base, len(base), None, source, words.gap_too_small(gap, facts.smallest_gap, facts.unit))
    return _Gap(gap, sd_base, len(base), (DEFAULT_MARGIN if claim.margin is None else claim.margin) * abs(gap), source, "")


def _unreadable(case: _Case, sides: tuple[CellReadings, CellReadings]) -> str:
    """Return why the readings cannot be trusted at all (then no difference is shown either); empty where they can."""
    if not case.facts.carried:
        return words.not_carried(case.facts.name, case.facts.note)
    for cell, side in zip((case.claim.cell, case.claim.versus_cell), sides, strict=True):
        if _too_few(case.facts, side):
            return words.too_few_measurable(str(cell), side.measurable_share, MIN_MEASURABLE)
    return ""


def _too_few(facts: InstrumentFacts, side: CellReadings) -> bool:
    return facts.kind == "continuous" and side.value.size > 0 and side.measurable_share < MIN_MEASURABLE


def _margin_refusal(case: _Case, runs: RunEffects, gap: _Gap) -> str:
    """Return why there is no margin to judge by; empty where there is one. The difference itself may still be shown."""
    if gap.margin is None:
        return gap.refusal
    left = case.facts.left_in_means(max(runs.n_pairs, 1))
    if runs.n_pairs and gap.margin <= left:
        return words.margin_in_error(gap.margin, left, case.facts.unit, given=case.claim.margin_absolute is not None)
    return ""


def _direction(claim: ClaimSpec, raw: Finding | None, contrast: Contrast | None) -> int:
    """Return the sign in which a control must be exceeded: the finding's, else the expected one, else the estimate's."""
    signs = {"higher": 1, "lower": -1}
    if raw in signs:
        return signs[raw]
    if claim.expect in signs:
        return signs[claim.expect]
    return -1 if contrast is not None and contrast.effect < 0 else 1


def _control_checks(case: _Case, sides: tuple[CellReadings, CellReadings], direction: int) -> tuple[ControlCheck, ...]:
    """Return the checks that apply: those that the claim needs, run or not, and the others where their pictures exist."""
    claim, cells = case.claim, case.controls
    versus = claim.versus_cell
    learned = versus.arm == BASE_ARM and claim.expect != "no change"
    checks = []
    own = cells.placebo is not None and cells.placebo.arm in (claim.cell.arm, versus.arm)  # the placebo is itself a side of the claim
    if not own and (learned or cells.placebo is not None):
        checks.append(_check(case, "placebo", learned, cells.placebo, (sides[0],), (1, -1), direction))
    if claim.needs_trigger or cells.no_trigger is not None:
        base = case.side(claim.cell.on(BASE_ARM))
        checks.append(_check(case, "trigger", claim.needs_trigger, cells.no_trigger, (sides[0], base), (1, -1, -1, 1), direction))
    return tuple(checks)


def _check(
    case: _Case,
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
    theirs = (case.side(cell),) if name == "placebo" else (case.side(cell), case.side(cell.on(BASE_ARM)))
    sides = ours + theirs
    runs = case.effects(sides, weights)
    if not case.facts.carried or any(_too_few(case.facts, side) for side in sides):
        return check("not_measurable")
    if runs.n_runs < MIN_RUNS:
        return check("not_run")
    contrast = case.contrast(runs, n_cells=len(sides))
    bound = contrast.low if direction > 0 else -contrast.high
    return check("passed" if bound > 0 else "failed", contrast)


def _rule(
    case: _Case, runs: RunEffects, contrast: Contrast | None, gap: _Gap, refusal: str, raw: Finding | None, checks: tuple[ControlCheck, ...]
) -> tuple[Finding | None, Ruling, str, int | None]:
    """Return finding, verdict, reason and the runs needed; the one place where numbers become a verdict."""
    if refusal:
        return None, "not_measurable", refusal, None
    if contrast is None or raw is None or gap.margin is None:
        return None, "inconclusive", words.too_few_runs(runs.n_runs, MIN_RUNS), MIN_RUNS
    unit = case.facts.unit
    if raw == "unclear":
        more = _more_runs(case, contrast, gap.margin)
        return raw, "inconclusive", words.unclear(contrast, gap.margin, unit, more), more
    blocking = next((check for check in checks if check.required and check.status != "passed"), None)
    if raw in ("higher", "lower") and blocking is not None:
        more = _more_runs_for_control(case, blocking, 1 if raw == "higher" else -1)
        return "unclear", "inconclusive", words.control_failed(contrast, blocking, unit, more), more
    ruling: Ruling = "supported" if raw == case.claim.expect else "contradicted"
    return raw, ruling, words.decided(raw, contrast, gap.margin, unit, checks), None


def _more_runs(case: _Case, contrast: Contrast, margin: float) -> int | None:
    """Return the runs, in all, that would decide an effect of the size seen; None where hardly any number would."""
    # read back from the interval, so that a floor under it counts as spread
    half = (contrast.high - contrast.low) / 2
    sd_runs = half * math.sqrt(contrast.n_runs) / t_critical(contrast.n_runs, contrast.level)
    return runs_needed(contrast.effect, sd_runs, case.m_claims, margin, case.alpha, at_least=contrast.n_runs + 1)


def _more_runs_for_control(case: _Case, check: ControlCheck, direction: int) -> int | None:
    if check.contrast is None or check.contrast.effect * direction <= 0:
        return None
    return _more_runs(case, check.contrast, 0.0)


def _transfer(case: _Case, cell: CellReadings, gap: _Gap) -> float | None:
    """Return (cell - base) / (training set - base), or None unless the gap exceeds 1 sd of at least 200 base pictures."""
    if gap.gap is None or gap.sd_base is None or gap.n_base < MIN_TRANSFER_IMAGES or abs(gap.gap) <= gap.sd_base:
        return None
    runs = case.effects((cell, case.side(case.claim.cell.on(BASE_ARM))), (1, -1))
    return float(np.mean(runs.effects)) / gap.gap if runs.n_runs else None


def _n_excluded(case: _Case, sides: tuple[CellReadings, CellReadings], runs: RunEffects) -> int:
    """Return how many replicates, of those that the base or either side has, gave no pair."""
    base = case.side(case.claim.cell.on(BASE_ARM))
    return len(replicates_of((*sides, base)) - set(runs.replicates))


def _measurability_note(case: _Case, sides: tuple[CellReadings, CellReadings]) -> str:
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

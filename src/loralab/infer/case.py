"""One claim with everything that judging it reads: its sides, its gap and margin, and why it may be refused.

In: a claim, the readings, what the instrument's card says. Out: paired effects, contrasts at the claim's level, the margin, refusals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from loralab.errors import lab_error
from loralab.infer import words
from loralab.infer.decidable import runs_needed
from loralab.infer.estimate import estimate_contrast, half_width_floor
from loralab.infer.pairs import CellReadings, RunEffects, cell_readings, run_effects
from loralab.infer.verdict import Contrast
from loralab.spec.cells import Cell
from loralab.spec.models import ClaimSpec
from loralab.spec.questions import QuestionId
from loralab.spec.sources import BASE, BaseSource, is_base

DEFAULT_MARGIN = 0.25
Weights = Sequence[float] | np.ndarray
DIFFERENCE: Weights = (1.0, -1.0)
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
class OwnBases:
    """Arms on other bases than the study's: each arm's base, and by base what the instruments' cards say there."""

    base_of: Mapping[str, BaseSource] = field(default_factory=dict)
    instruments: Mapping[BaseSource, Mapping[str, InstrumentFacts]] = field(default_factory=dict)

    def base(self, cell: Cell) -> Cell:
        """Return the cell of a cell's base at the same prompt; a base is its own."""
        return cell.on(cell.arm if is_base(cell.arm) else self.base_of.get(str(cell.arm), BASE))


@dataclass(frozen=True)
class ControlCells:
    """The cells that a claim's change is held against; None where the study has none."""

    placebo: Cell | None
    no_trigger: Cell | None
    null: Cell | None = None  # random adapters that change the predicted noise as much as the trained ones


@dataclass(frozen=True)
class CurveCells:
    """Where a curve is read: one cell a dose, in rising order (dose 0 is the base), and the prompts that tell damage."""

    doses: tuple[float, ...]
    cells: tuple[Cell, ...]
    unrelated: tuple[str, ...]

    def damage_cells(self, index: int) -> tuple[Cell, ...]:
        """Return the cells of the dose at ``index`` at the unrelated prompts."""
        return tuple(self.cells[index].at(prompt) for prompt in self.unrelated)


@dataclass(frozen=True)
class Case:
    """One claim with everything that judging it reads."""

    question: QuestionId
    claim: ClaimSpec
    readings: pl.DataFrame
    training_mean: float | None
    facts: InstrumentFacts
    controls: ControlCells
    alpha: float
    m_claims: int
    own: OwnBases = field(default_factory=OwnBases)

    @property
    def base(self) -> Cell:
        """The base of the claim's arm, at the claim's prompt."""
        return self.own.base(self.claim.cell)

    @property
    def across_bases(self) -> bool:
        """Whether two arms on two bases are compared: each then against its own."""
        sides = self.claim.cell, self.claim.versus_cell
        return not any(side.is_base for side in sides) and self.own.base(sides[0]).arm != self.own.base(sides[1]).arm

    @property
    def level(self) -> float:
        """The level of the claim's interval: the experiment's error rate is shared by its claims and curves."""
        return 1 - self.alpha / self.m_claims

    def side(self, cell: Cell) -> CellReadings:
        """Return the readings of one cell."""
        return cell_readings(self.readings, cell, self.claim.measure)

    def effects(self, sides: Sequence[CellReadings], weights: Sequence[float]) -> RunEffects:
        """Return one effect a run: the weighted sum of the sides."""
        return run_effects(sides, weights, self.facts.kind)

    def floor(self, runs: RunEffects, weights: Weights = DIFFERENCE, level: float | None = None, n_runs: int | None = None) -> float:
        """Return the smallest half width that the interval of a weighted sum of cells may have; with ``n_runs``, after so many runs.

        The sum can move by half of its absolute weights times the instrument's range: 1 range for a difference, more for a trend.
        """
        wanted = runs.n_runs if n_runs is None else n_runs
        return half_width_floor(
            n_runs=wanted,
            n_pairs=max(1, round(runs.n_pairs * wanted / runs.n_runs)) if runs.n_runs else 1,
            level=self.level if level is None else level,
            few_valued=runs.few_valued,
            span=self.facts.span * float(np.abs(weights).sum()) / 2,
            error=self.facts.error * float(np.linalg.norm(weights)) / math.sqrt(2),
        )

    def contrast(self, runs: RunEffects, weights: Weights = DIFFERENCE, level: float | None = None) -> Contrast:
        """Return the mean of the run effects with its interval; at the claim's level unless another is given."""
        floor = self.floor(runs, weights, level)
        return estimate_contrast(runs.effects, n_images=runs.n_pairs, level=self.level if level is None else level, floor=floor)


@dataclass(frozen=True)
class Gap:
    """How far the training set lies from the base at the claim's prompt, and the margin that follows."""

    gap: float | None
    sd_base: float | None
    n_base: int
    margin: float | None
    margin_source: str
    refusal: str  # why there is no margin; empty where there is one


def find_gap(case: Case) -> Gap:
    """Return the gap, from every base picture at the claim's prompt, and the margin that the claim asks for."""
    claim, facts = case.claim, case.facts
    base = case.side(case.base).known(facts.kind)
    sd_base = float(np.std(base, ddof=1)) if len(base) > 1 else None
    gap = case.training_mean - float(np.mean(base)) if case.training_mean is not None and len(base) else None
    if claim.margin_absolute is not None:
        return Gap(gap, sd_base, len(base), claim.margin_absolute, "given", "")
    source = words.margin_source(DEFAULT_MARGIN if claim.margin is None else claim.margin)
    if gap is None:
        return Gap(None, sd_base, len(base), None, source, words.no_gap(case.training_mean is None))
    if abs(gap) <= facts.smallest_gap:
        return Gap(gap, sd_base, len(base), None, source, words.gap_too_small(gap, facts.smallest_gap, facts.unit))
    return Gap(gap, sd_base, len(base), (DEFAULT_MARGIN if claim.margin is None else claim.margin) * abs(gap), source, "")


def why_unreadable(case: Case, sides: Sequence[CellReadings], cells: Sequence[Cell] = ()) -> str:
    """Return why the readings cannot be trusted at all (then no difference is shown either); empty where they can."""
    if not case.facts.carried:
        return words.not_carried(case.facts.name, case.facts.note)
    for cell, side in zip(cells or (case.claim.cell, case.claim.versus_cell), sides, strict=True):
        if too_few(case.facts, side):
            return words.too_few_measurable(str(cell), side.measurable_share, MIN_MEASURABLE)
    return ""


def too_few(facts: InstrumentFacts, side: CellReadings) -> bool:
    """Return whether too small a share of a continuous instrument's pictures could be measured."""
    return facts.kind == "continuous" and side.value.size > 0 and side.measurable_share < MIN_MEASURABLE


def margin_refusal(case: Case, runs: RunEffects, gap: Gap) -> str:
    """Return why there is no margin to judge by; empty where there is one. The difference itself may still be shown."""
    if gap.margin is None:
        return gap.refusal
    left = case.facts.left_in_means(max(runs.n_pairs, 1))
    if runs.n_pairs and gap.margin <= left:
        return words.margin_in_error(gap.margin, left, case.facts.unit, given=case.claim.margin_absolute is not None)
    return ""


def more_runs(case: Case, runs: RunEffects, contrast: Contrast, margin: float, weights: Weights = DIFFERENCE) -> int | None:
    """Return the runs, in all, that would decide an effect of the size seen; None where hardly any number would."""
    sd_runs = float(np.std(contrast.run_effects, ddof=1)) or 1e-6 * case.facts.span

    def floor_at(n_runs: int) -> float:
        return case.floor(runs, weights, contrast.level, n_runs)

    return runs_needed(contrast.effect, sd_runs, case.m_claims, margin, case.alpha, at_least=contrast.n_runs + 1, floor_at=floor_at)

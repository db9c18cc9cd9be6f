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
from loralab.infer.comparison import Comparison, Sample, against_base, between, differences, read_sample, trend
from loralab.infer.estimate import Levels, half_width_floor, moderated_contrast
from loralab.infer.future import Outlook, outlook
from loralab.infer.known import BaseKnown
from loralab.infer.likeness import likeness_contrast
from loralab.infer.looks import PLANNED, Looks, look_levels
from loralab.infer.moderated import Prior, Squares, design_effect, squares_of
from loralab.infer.pairs import CellReadings, RunEffects, cell_readings, run_effects
from loralab.infer.spreads import likeness_of
from loralab.infer.verdict import Contrast
from loralab.spec.cells import Cell
from loralab.spec.models import ClaimSpec
from loralab.spec.questions import QuestionId
from loralab.spec.sources import BASE, BaseSource, is_base

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
    #: in what the placebo's recipe differs from the arm's (`infer.placebo.recipe_differences`): then it is no control, and is not counted
    placebo_differs: tuple[str, ...] = ()


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
class EffectCells:
    """Where the effect of crossed settings is read: the arms' cells with their weights, and for one factor its levels with their cells."""

    says: str
    cells: tuple[Cell, ...]
    weights: tuple[float, ...]
    factor: str = ""
    levels: tuple[tuple[float, tuple[Cell, ...]], ...] = ()  # of a factor whose levels are numbers: the axis of a figure


@dataclass(frozen=True)
class Rule:
    """What all questions of an experiment share: the error rate, among how many it is shared, the planned looks, and the study's prior."""

    alpha: float
    m_claims: int
    m_study: int
    looks: Looks = PLANNED
    prior: Prior = field(default_factory=Prior)

    def levels(self, n_runs: int) -> Levels:
        """Return the levels of the intervals at ``n_runs`` trainings: for a size, and for a direction."""
        look = self.looks.index(n_runs)
        claim, study = (look_levels(m, self.alpha, self.looks)[look] for m in (self.m_claims, self.m_study))
        return Levels(1 - claim, 1 - study)


@dataclass(frozen=True)
class Case:
    """One claim with everything that judging it reads."""

    question: QuestionId
    claim: ClaimSpec
    readings: pl.DataFrame
    training_mean: float | None
    facts: InstrumentFacts
    controls: ControlCells
    rule: Rule
    own: OwnBases = field(default_factory=OwnBases)
    known: Mapping[Cell, BaseKnown] = field(default_factory=dict)
    effect: EffectCells | None = None
    #: cells that were read before: a claim's contrast, its controls and its prior read the same ones several times
    read: dict[Cell, CellReadings] = field(default_factory=dict, repr=False, compare=False)

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
    def comparison(self) -> Comparison:
        """What the claim compares."""
        cell, versus = self.claim.cell, self.claim.versus_cell
        if self.effect is not None:
            return trend(self.effect.cells, self.effect.weights, self.base)
        if versus.is_base and not cell.is_base:
            return against_base(cell, versus)
        return (differences if self.across_bases else between)(cell, versus, self.own.base(cell), self.own.base(versus))

    def side(self, cell: Cell) -> CellReadings:
        """Return the readings of one cell."""
        if cell not in self.read:
            self.read[cell] = cell_readings(self.readings, cell, self.claim.measure)
        return self.read[cell]

    def sample(self, comparison: Comparison) -> Sample:
        """Return the paired values of a comparison."""
        return read_sample(comparison, [self.side(cell) for cell in comparison.all_cells], self.facts.kind, self.known)

    def squares(self, sample: Sample) -> Squares:
        """Return a sample's mean squares, by the instrument's shipped likeness."""
        return squares_of(sample.z, sample.replicate, likeness_of(self.claim.measure))

    def effects(self, sides: Sequence[CellReadings], weights: Sequence[float]) -> RunEffects:
        """Return one plain effect a training: the weighted sum of the sides."""
        return run_effects(sides, weights, self.facts.kind)

    def floor(self, sample: Sample, level: float, n_runs: int | None = None) -> float:
        """Return the smallest half width of a sample's interval at ``level``; with ``n_runs``, as it would be after so many trainings."""
        wanted = sample.n_runs if n_runs is None else n_runs
        return half_width_floor(
            n_runs=wanted,
            n_pairs=max(1, round(sample.n_pairs * wanted / sample.n_runs)) if sample.n_runs else 1,
            level=level,
            few_valued=sample.few_valued,
            span=self.facts.span * sample.comparison.reach,
            error=self.facts.error * sample.comparison.noise,
            design=design_effect(self.squares(sample), self.rule.prior) if sample.few_valued else 1.0,
        )

    def contrast(self, sample: Sample, level: float | None = None) -> Contrast:
        """Return the estimate with its intervals; at the levels of the look that has been reached, unless another is given."""
        levels = self.rule.levels(sample.n_runs) if level is None else Levels(level, level)
        if self.claim.between_trainings:
            return likeness_contrast(sample, levels)
        return moderated_contrast(
            sample, self.squares(sample), self.rule.prior, levels, ends=(self.facts.low, self.facts.high),
            floor=lambda at: self.floor(sample, at), bias=self.facts.bias,
        )  # fmt: skip

    def outlook(self, sample: Sample, contrast: Contrast, margin: float, expect: str) -> Outlook:
        """Return the chance of an answer at the looks that are still to come."""
        return outlook(
            contrast, margin, expect, lambda n_runs: self.rule.levels(n_runs).claim,
            lambda n_runs, level: self.floor(sample, level, n_runs), self.rule.looks,
        )  # fmt: skip


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
    """Return the gap, from the base pictures that no contrast uses where there are any, and the margin that the claim asks for.

    So the margin neither moves with the budget nor leans with the effect; without such pictures every base picture at the prompt serves.
    """
    claim, facts = case.claim, case.facts
    base = case.known.get(case.base) or _of_study(case.side(case.base).known(facts.kind))
    sd_base = math.sqrt(base.variance) if base.n > 1 else None
    gap = case.training_mean - base.mean if case.training_mean is not None and base.n else None
    if claim.margin_absolute is not None:
        return Gap(gap, sd_base, base.n, claim.margin_absolute, "given", "")
    source = words.margin_source(DEFAULT_MARGIN if claim.margin is None else claim.margin)
    if gap is None:
        return Gap(None, sd_base, base.n, None, source, words.no_gap(case.training_mean is None))
    if abs(gap) <= facts.smallest_gap:
        return Gap(gap, sd_base, base.n, None, source, words.gap_too_small(gap, facts.smallest_gap, facts.unit))
    return Gap(gap, sd_base, base.n, (DEFAULT_MARGIN if claim.margin is None else claim.margin) * abs(gap), source, "")


def _of_study(values: np.ndarray) -> BaseKnown:
    if not len(values):
        return BaseKnown(0.0, 0.0, 0)
    return BaseKnown(float(values.mean()), float(values.var(ddof=1)) if len(values) > 1 else 0.0, len(values))


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

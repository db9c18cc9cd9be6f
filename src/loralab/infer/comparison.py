"""What a contrast reads: weighted cells of arms, and the base beneath them at the same seeds.

In: the cells of a claim, a control, or a curve. Out: a ``Comparison``, and the paired values that it finds in a frame of readings. Two
kinds: *against* the base (its reading is taken off) and *between* trained cells (the base only explains part of the scatter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loralab.infer.known import Adjusted, BaseKnown, adjust, known_from, pooled
from loralab.infer.pairs import FEW_VALUES, CellReadings, shared_keys, values_at
from loralab.spec.cells import Cell


@dataclass(frozen=True)
class Comparison:
    """Weighted cells, and weighted base cells beneath them; *against*: sum of cells minus sum of bases, *between*: sum of cells alone."""

    kind: Literal["against", "between"]
    cells: tuple[Cell, ...]
    weights: tuple[float, ...]
    beneath: tuple[Cell, ...] = ()
    beneath_weights: tuple[float, ...] = ()

    @property
    def reach(self) -> float:
        """How far the sum can move, in ranges of the instrument: half of its absolute weights (1 for a difference, more for a trend)."""
        taken = (*self.weights, *(self.beneath_weights if self.kind == "against" else ()))
        return float(np.abs(taken).sum()) / 2

    @property
    def noise(self) -> float:
        """How much of an instrument's error on one picture the sum carries, relative to a difference of two."""
        taken = (*self.weights, *(self.beneath_weights if self.kind == "against" else ()))
        return float(np.linalg.norm(taken)) / np.sqrt(2)

    @property
    def taken(self) -> tuple[Cell, ...]:
        """The cells whose readings are part of the sum."""
        return self.all_cells if self.kind == "against" else self.cells

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """Every cell that is read, the bases last."""
        return (*self.cells, *self.beneath)


def against_base(cell: Cell, base: Cell) -> Comparison:
    """Return a cell against its base."""
    return Comparison("against", (cell,), (1.0,), (base,), (1.0,))


def between(cell: Cell, other: Cell, base: Cell, other_base: Cell) -> Comparison:
    """Return a cell against another one; at one prompt and on one base that base is the covariate, else the difference of the two."""
    if cell.is_base or other.is_base:
        return Comparison("between", (cell, other), (1.0, -1.0))
    if base == other_base:
        return Comparison("between", (cell, other), (1.0, -1.0), (base,), (1.0,))
    return Comparison("between", (cell, other), (1.0, -1.0), (base, other_base), (1.0, -1.0))


def differences(cell: Cell, other: Cell, base: Cell, other_base: Cell) -> Comparison:
    """Return the change of a cell from its base against another cell's change from its own."""
    return Comparison("against", (cell, other), (1.0, -1.0), (base, other_base), (1.0, -1.0))


def trend(cells: Sequence[Cell], weights: Sequence[float], base: Cell) -> Comparison:
    """Return the weighted sum over the doses of one arm; the weights sum to 0, so the base is a covariate only."""
    return Comparison("between", tuple(cells), tuple(weights), (base,), (1.0,))


@dataclass(frozen=True)
class Sample:
    """One value a pair: what was compared, adjusted by what is known of the base; the mean of ``z`` is the estimate."""

    comparison: Comparison
    z: np.ndarray
    replicate: np.ndarray
    v: float
    few_valued: bool
    theta: float
    offset: float
    cell_means: tuple[float, ...]  # of the pairs' pictures, in the order of comparison.cells

    @property
    def n_pairs(self) -> int:
        """The number of pairs of pictures."""
        return len(self.z)

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the most that one pair's value can be, if readings lie between ``low`` and ``high``."""
        weights = (*self.comparison.weights, *(-self.theta * weight for weight in self.comparison.beneath_weights))
        middle = sum(weights) * (low + high) / 2 - self.offset
        half = sum(abs(weight) for weight in weights) * (high - low) / 2
        return middle - half, middle + half

    @property
    def replicates(self) -> tuple[int, ...]:
        """The trainings that gave a pair, rising."""
        return tuple(int(r) for r in np.unique(self.replicate))

    @property
    def n_runs(self) -> int:
        """The number of trainings."""
        return len(self.replicates)

    @property
    def run_effects(self) -> np.ndarray:
        """One effect a training, (R,), in order of replicate."""
        _, run_of = np.unique(self.replicate, return_inverse=True)
        return np.asarray(np.bincount(run_of, weights=self.z) / np.bincount(run_of)) if len(self.z) else np.zeros(0)


def read_sample(
    comparison: Comparison, sides: Sequence[CellReadings], kind: str, known: Mapping[Cell, BaseKnown] | None = None
) -> Sample:  # fmt: skip
    """Return the pairs of a comparison; ``sides`` in the order of its ``all_cells``, ``kind`` that of the instrument.

    A pair has a picture in every cell at one replicate and seed. A share counts an unmeasurable picture as "no"; for a continuous
    instrument the pair is left out, except where only a covariate is missing. Base pictures of replicates that gave no pair are known
    besides: with those in ``known`` they tell the base's mean.
    """
    n = len(comparison.cells)
    needed = len(sides) if comparison.kind == "against" else n
    keys = shared_keys(sides[:needed])
    values, has = values_at(sides, keys, kind)
    keep = has[:needed].all(axis=0)
    values, has = values[:, keep], has[:, keep]
    replicate = np.array([r for r, _ in keys], dtype=int)[keep]
    mean, error = _known_beneath(comparison, sides[n:], replicate, kind, known or {})
    y, x = np.asarray(comparison.weights) @ values[:n], np.asarray(comparison.beneath_weights) @ values[n:]
    if comparison.kind == "between":
        x = np.where(has[n:].all(axis=0), x, mean)
    found = adjust(y, x, mean, error, comparison.kind) if len(y) else Adjusted(y, 0.0, 0.0)
    means = tuple(float(side.mean()) for side in values[:n]) if len(y) else ()
    few = len(np.unique(values[has])) <= FEW_VALUES
    return Sample(comparison, found.z, replicate, found.v, few, found.theta, found.offset, means)


def _known_beneath(
    comparison: Comparison, beneath: Sequence[CellReadings], used: np.ndarray, kind: str, known: Mapping[Cell, BaseKnown]
) -> tuple[float, float]:
    """Return (mean, its variance) of the weighted bases; (0, infinity) where one of them is not known."""
    mean, error = 0.0, 0.0
    for cell, side, weight in zip(comparison.beneath, beneath, comparison.beneath_weights, strict=True):
        told = pooled([known.get(cell), known_from(side.outside(used).known(kind))])
        if told is None:
            return 0.0, np.inf
        mean, error = mean + weight * told.mean, error + weight**2 * told.error
    return (mean, error) if comparison.beneath else (0.0, np.inf)

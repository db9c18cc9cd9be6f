"""From the readings frame to one effect a run: pictures of the same seed are paired, then averaged inside each run.

In: the frame of readings (columns in ``docs/contracts.md``) and the cells to combine. Out: the run effects, the means of
each side over the same pictures, and how many pictures they rest on. Statistics over runs stand in ``estimate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from loralab.errors import lab_error
from loralab.spec.cells import Cell
from loralab.spec.sources import Who, is_base

COLUMNS = ("arm", "replicate", "prompt", "strength", "step", "seed", "measure", "value", "status", "reason")
STATUSES = ("measured", "not_measurable")
#: readings that take no more than this many values are treated as classes (a circle or none), not as a continuum.
FEW_VALUES = 3


@dataclass(frozen=True)
class CellReadings:
    """The readings of one cell, sorted by (replicate, seed); ``value`` is 0 where ``measured`` is False."""

    replicate: np.ndarray
    seed: np.ndarray
    value: np.ndarray
    measured: np.ndarray

    @property
    def measurable_share(self) -> float:
        """The share of the pictures that could be measured; 0 without pictures."""
        return float(self.measured.mean()) if self.measured.size else 0.0

    def outside(self, replicates: np.ndarray) -> CellReadings:
        """Return the readings of all replicates but these."""
        keep = ~np.isin(self.replicate, replicates)
        return CellReadings(self.replicate[keep], self.seed[keep], self.value[keep], self.measured[keep])

    def known(self, kind: str) -> np.ndarray:
        """Return the values that count, (n,): a share counts an unmeasurable picture as "no" (0), a continuous one leaves it out."""
        return self.value if kind == "share" else self.value[self.measured]


@dataclass(frozen=True)
class RunEffects:
    """One effect a run, in order of replicate, with what it rests on."""

    replicates: tuple[int, ...]
    effects: np.ndarray  # (R,)
    side_means: np.ndarray  # (cells, R): the means of the same pictures, so that their weighted sum is the effect
    n_pairs: int
    few_valued: bool

    @property
    def n_runs(self) -> int:
        """The number of runs."""
        return len(self.replicates)


def check_readings(readings: pl.DataFrame) -> None:
    """Raise LabError("measurement") where a column is missing, a status is unknown, or a measured value is no finite number."""
    missing = [name for name in COLUMNS if name not in readings.columns]
    if missing:
        raise lab_error("measurement", f"the readings have no column {', '.join(missing)}", f"the columns {', '.join(COLUMNS)}")
    unknown = sorted(set(readings["status"].unique().to_list()) - set(STATUSES), key=str)
    if unknown:
        raise lab_error("measurement", f"the readings have the status {unknown[0]!r}", " or ".join(STATUSES))
    value = pl.col("value").cast(pl.Float64)
    broken = readings.filter((pl.col("status") == "measured") & ~value.is_finite().fill_null(False))
    if broken.height:
        row = broken.row(0, named=True)
        raise lab_error(
            "measurement",
            f"{broken.height} readings are marked as measured but have no finite value; the first is {row['measure']} of {row['arm']}",
            "a finite number, or the status not_measurable",
            "measure the pictures again",
        )


def with_sources(readings: pl.DataFrame) -> pl.DataFrame:
    """Return readings with the column ``is_base``: whether a base drew the picture, as it is.

    Frames that were written before there was this column are read by their names, under which no arm could go then.
    """
    if "is_base" in readings.columns:
        return readings
    named = (pl.col("arm") == "base") | pl.col("arm").str.starts_with("base of ")
    return readings.with_columns(named.alias("is_base"))


def drawn_by(who: Who) -> pl.Expr:
    """Return which rows of readings (with ``is_base``) are of an arm's pictures, or of a base's."""
    return (pl.col("arm") == str(who)) & (pl.col("is_base") == is_base(who))


def _is_cell(cell: Cell) -> pl.Expr:
    """Return the condition that a row belongs to a cell; the base has neither strength nor step."""
    chosen = drawn_by(cell.arm) & (pl.col("prompt") == cell.prompt)
    if cell.is_base:
        return chosen
    step = pl.col("step").is_null() if cell.step is None else pl.col("step") == cell.step
    return chosen & ((pl.col("strength") - cell.strength).abs() < 1e-9) & step


def cell_readings(readings: pl.DataFrame, cell: Cell, measure: str) -> CellReadings:
    """Return the readings of ``cell`` by the instrument ``measure``; empty where no run of it was read.

    The base has neither strength nor step, so those columns are not compared there. Raises LabError("measurement")
    where a picture was read twice: the pairs would no longer be pairs.
    """
    rows = with_sources(readings).filter(_is_cell(cell) & (pl.col("measure") == measure)).sort("replicate", "seed")
    if rows.select("replicate", "seed").is_duplicated().any():
        raise lab_error(
            "measurement", f"{cell}: a picture has two readings of {measure}", "one reading per picture", "measure the cell again"
        )
    measured = (rows["status"] == "measured").to_numpy()
    value = rows["value"].cast(pl.Float64).fill_null(0.0).to_numpy()
    return CellReadings(rows["replicate"].to_numpy(), rows["seed"].to_numpy(), np.where(measured, value, 0.0), measured)


def _row_of(side: CellReadings) -> dict[tuple[int, int], int]:
    return {key: i for i, key in enumerate(zip(side.replicate.tolist(), side.seed.tolist(), strict=True))}


def shared_keys(sides: Sequence[CellReadings]) -> list[tuple[int, int]]:
    """Return the (replicate, seed) that all sides have, rising."""
    rows = [_row_of(side) for side in sides]
    return sorted(set(rows[0]).intersection(*rows[1:]))


def values_at(sides: Sequence[CellReadings], keys: Sequence[tuple[int, int]], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (values, whether they count), both (sides, keys); a share counts an unmeasurable picture as "no" (0)."""
    values, counts = np.zeros((len(sides), len(keys))), np.zeros((len(sides), len(keys)), bool)
    for i, side in enumerate(sides):
        row_of = _row_of(side)
        there = [(k, row_of[key]) for k, key in enumerate(keys) if key in row_of]
        places, rows = [k for k, _ in there], [row for _, row in there]
        values[i, places] = side.value[rows]
        counts[i, places] = True if kind == "share" else side.measured[rows]
    return values, counts


def paired_values(sides: Sequence[CellReadings], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (values (cells, pairs), replicate (pairs,)) of the pictures that all sides have, paired by replicate and image seed.

    A share counts an unmeasurable picture as "no" (0); for a continuous instrument a pair with an unmeasurable picture is left out.
    """
    keys = shared_keys(sides)
    values, counts = values_at(sides, keys, kind)
    keep = counts.all(axis=0)
    return values[:, keep], np.array([replicate for replicate, _ in keys], dtype=int)[keep]


def run_effects(sides: Sequence[CellReadings], weights: Sequence[float], kind: str) -> RunEffects:
    """Return one effect a run: the mean over its seeds of the weighted sum of the sides, e.g. weights (1, -1) for a difference.

    Pairs as in ``paired_values``. A run without a pair has no effect and does not appear.
    """
    values, replicate = paired_values(sides, kind)
    runs, run_of_pair = np.unique(replicate, return_inverse=True)
    n_pairs_of_run = np.bincount(run_of_pair, minlength=len(runs))
    side_means = np.stack([np.bincount(run_of_pair, weights=side, minlength=len(runs)) for side in values]) / np.maximum(n_pairs_of_run, 1)
    few = len(np.unique(values)) <= FEW_VALUES
    return RunEffects(tuple(int(r) for r in runs), np.asarray(weights) @ side_means, side_means, values.shape[1], few)


def replicates_of(sides: Sequence[CellReadings]) -> set[int]:
    """Return every replicate that appears on any side."""
    return {int(replicate) for side in sides for replicate in np.unique(side.replicate)}


def same_pictures(readings: pl.DataFrame, cell: Cell, other: Cell) -> bool:
    """Return whether two cells are the same pictures: every instrument reads exactly the same of each, among them one of many values.

    Two pictures that differ may both hold no circle; that they also have the same colourfulness to the last bit does not happen.
    """
    keys = ["replicate", "seed", "measure"]
    one, two = (with_sources(readings).filter(_is_cell(side)).select(*keys, "value", "status") for side in (cell, other))
    both = one.join(two, on=keys, suffix="_other")
    equal = pl.col("value").eq_missing(pl.col("value_other")) & (pl.col("status") == pl.col("status_other"))
    if not both.height or not both.select(equal.all()).item():
        return False
    kinds = both.group_by("measure").agg(pl.col("value").drop_nulls().n_unique().alias("n"))["n"].to_list()
    return max(kinds) > FEW_VALUES

"""Real readings as a world in which studies can be run again: trainings and pictures are drawn anew from those that were made.

In: a frame of readings in which every cell has the same trainings. Out: frames of made-up studies, and the values of any cell as an array.
What holds on average over the pool is the truth of this world. A training that is drawn takes all of its cells along, and the base at the
same image seeds, so that pairs stay pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from loralab.infer.known import BaseKnown
from loralab.infer.pairs import cell_readings, with_sources
from loralab.spec.cells import Cell
from loralab.spec.sources import BaseSource

#: a base at a prompt, as an instrument reads it
Told = tuple[BaseSource, str, str]
CELL = ["arm", "is_base", "prompt", "strength", "step"]
KNOWN = 512  # pictures of the base that ship for each prompt


@dataclass(frozen=True)
class Pool:
    """Readings with two more columns: ``trained``, a training's place (0 to ``trainings`` - 1), and ``slot``, a picture's place in it."""

    frame: pl.DataFrame
    trainings: int
    pictures: int

    def values(self, cell: Cell, measure: str, kind: str) -> np.ndarray:
        """Return the readings of a cell, (trainings, pictures); NaN where there is none. A share counts an unmeasurable picture as "no"."""
        own = self.frame.filter(pl.col("measure") == measure)
        side = cell_readings(own.with_columns(replicate=pl.col("trained"), seed=pl.col("slot")), cell, measure)
        found = np.full((self.trainings, self.pictures), np.nan)
        counts = np.ones_like(side.measured) if kind == "share" else side.measured
        found[side.replicate[counts], side.seed[counts]] = side.value[counts]
        return found

    def has(self, cell: Cell, measure: str) -> bool:
        """Return whether the pool has readings of a cell by an instrument."""
        return bool(len(cell_readings(self.frame, cell, measure).value))


def pool_of(readings: pl.DataFrame) -> Pool:
    """Return the trainings that every cell of ``readings`` has, in their order; raises ValueError where there are none."""
    frame = with_sources(readings)
    cells = frame.select(CELL).unique().height
    counts = frame.select(*CELL, "replicate").unique().group_by("replicate").len()
    common = sorted(counts.filter(pl.col("len") == cells)["replicate"].to_list())
    if not common:
        raise ValueError("no training has readings in every cell")
    kept = frame.filter(pl.col("replicate").is_in(common)).with_columns(
        trained=pl.col("replicate").replace_strict(common, list(range(len(common))), return_dtype=pl.Int64),
        slot=pl.col("seed").rank("dense").over("replicate").cast(pl.Int64) - 1,
    )
    return Pool(kept, len(common), int(kept["slot"].max()) + 1)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Drawn:
    """Which trainings and which of their pictures stand in made-up studies: both (studies, trainings, pictures)."""

    trained: np.ndarray
    slot: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return the values of a cell (trainings, pictures) as these studies have them."""
        return np.asarray(values[self.trained, self.slot])


def drawn_from(pool: Pool, rng: np.random.Generator, studies: int, trainings: int, pictures: int) -> Drawn:
    """Return ``trainings`` drawn with replacement for each study, and for each of them ``pictures`` without.

    Raises ValueError where a training of the pool has fewer pictures than that.
    """
    if pictures > pool.pictures:
        raise ValueError(f"a training of the pool has {pool.pictures} pictures, not {pictures}")
    size = (studies, trainings, pictures)
    trained = np.broadcast_to(rng.integers(0, pool.trainings, (studies, trainings, 1)), size)
    order = np.argsort(rng.random((studies, trainings, pool.pictures)), axis=-1)
    return Drawn(trained, order[..., :pictures])


def frame_of(pool: Pool, drawn: Drawn) -> pl.DataFrame:
    """Return the readings of the first of some made-up studies: training k of every arm owns seeds k n to k n + n - 1."""
    trained, slot = drawn.trained[0], drawn.slot[0]
    replicate, place = np.indices(trained.shape)
    chosen = pl.DataFrame(
        {
            "trained": trained.ravel(), "slot": slot.ravel(), "replicate": replicate.ravel(),
            "seed": (replicate * trained.shape[1] + place).ravel(),
        }
    )  # fmt: skip
    return pool.frame.drop("replicate", "seed").join(chosen, on=["trained", "slot"]).drop("trained", "slot")


def known_bases(told: Mapping[Told, np.ndarray], rng: np.random.Generator) -> dict[Told, BaseKnown]:
    """Return what KNOWN further pictures of this world's bases tell, drawn from the values (n,) that the pool has of each."""
    found = {}
    for what, values in told.items():
        more = rng.choice(values, KNOWN)
        found[what] = BaseKnown(float(more.mean()), float(more.var(ddof=1)), KNOWN)
    return found


def base_values(pool: Pool, wanted: Iterable[Told], kinds: Mapping[str, str]) -> dict[Told, np.ndarray]:
    """Return the values that count of each base at a prompt by an instrument; nothing where the pool has none, or ``kinds`` no such."""
    found = {}
    for base, prompt, measure in sorted(wanted, key=str):
        if measure in kinds:
            values = pool.values(Cell(base, prompt), measure, kinds[measure])
            found[base, prompt, measure] = values[~np.isnan(values)]
    return {what: values for what, values in found.items() if len(values)}

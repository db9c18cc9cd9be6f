"""How much trainings and their pictures scatter, instrument by instrument: the figures that ship in ``run_sd.json``.

In: nothing. Out: the spread between trainings of a training's mean difference, and the likeness of the pictures of one training.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

#: likeness of an instrument whose own has not been measured: most lie near it (docs/results/variance.md).
USUAL_LIKENESS = 0.02


@dataclass(frozen=True)
class RunSd:
    """The spread between trainings of a training's mean paired difference, in the instrument's unit, at ``seeds`` pictures a training."""

    sd: float
    seeds: int
    n_runs: int
    source: str
    classes: bool = False  # whether a picture reads as one of a few values (a circle or none): then the interval has a floor
    between: float | None = None  # standard deviation between trainings without the pictures' share; None where it was not estimated
    within: float | None = None  # standard deviation between the pictures of a training

    def at(self, seeds: int) -> float:
        """Return the spread at ``seeds`` pictures a training: sqrt(between^2 + within^2 / seeds) where both are known.

        From one figure it is not known how much of the spread the pictures make. The safe side is taken: with fewer pictures all
        of it is theirs, with more none of it.
        """
        if self.between is not None and self.within is not None:
            return math.sqrt(self.between**2 + self.within**2 / seeds)
        return self.sd * math.sqrt(max(1.0, self.seeds / seeds))

    @property
    def parts(self) -> tuple[float, float]:
        """Standard deviations (between trainings, between the pictures of one); from one figure alone, at the usual likeness."""
        if self.between is not None and self.within is not None:
            return self.between, self.within
        one_picture = self.sd / math.sqrt(USUAL_LIKENESS + (1 - USUAL_LIKENESS) / self.seeds)
        return one_picture * math.sqrt(USUAL_LIKENESS), one_picture * math.sqrt(1 - USUAL_LIKENESS)

    @property
    def likeness(self) -> float:
        """How alike the pictures of one training are: between^2 / (between^2 + within^2)."""
        between, within = self.parts
        return between**2 / (between**2 + within**2)


@cache
def load_run_sds() -> dict[str, RunSd]:
    """Return the shipped spread between trainings of each instrument, by name."""
    text = resources.files("loralab.infer").joinpath("run_sd.json").read_text(encoding="utf-8")
    return {name: RunSd(**row) for name, row in json.loads(text)["instruments"].items()}


def likeness_of(measure: str) -> float:
    """Return the shipped likeness within a training of a measure (a name in brackets behind it does not matter), or the usual one."""
    spread = load_run_sds().get(measure.partition("[")[0])
    return USUAL_LIKENESS if spread is None else spread.likeness

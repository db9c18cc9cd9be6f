"""Small readings for the rule's tests: an arm, its base and a placebo, 8 trainings of two pictures each, in figures made up by hand."""

from __future__ import annotations

import numpy as np

from loralab.spec.cells import Cell

ARM, BASE, PLACEBO = 'arm @ "p"', 'base @ "p"', 'placebo @ "p"'
PLACEBO_CELL = Cell("placebo", "p")
#: effects of 8 trainings: mean 0, sum of squares 7.5, sd 1.0351, standard error .3660. At the first look of 8 trainings the level for one
#: claim is .0297; the pictures of a training agree exactly, so that the prior adds only degrees of freedom: d = 1 / (1/4 + 1/8) = 2.667,
#: nu = 9.667, t = 2.5476: a half width of .9324.
WOBBLE = np.array([-1.5, -1, -0.5, -0.5, 0.5, 0.5, 1, 1.5])
HALF = 0.9324


def runs(effect: float, n_runs: int = 8, wobble: np.ndarray = WOBBLE) -> list[list[float]]:
    """Two pictures a run, which differ by the seed's own level."""
    return [[30 + seed_level + effect + wobble[r] for seed_level in (r, -r)] for r in range(n_runs)]


FLAT = np.zeros(8)
BASE_RUNS = runs(0, wobble=FLAT)


def cells(effect: float, placebo: float | None = 0.0, **more: list) -> dict[str, list]:
    given = {ARM: runs(effect), BASE: BASE_RUNS}
    if placebo is not None:
        given[PLACEBO] = runs(placebo, wobble=FLAT)
    return given | more

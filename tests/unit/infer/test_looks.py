"""Levels of the planned looks: the published table, an independent simulation of Brownian motion, and what a look may never do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from loralab.infer.looks import PLANNED, Looks, look_levels, one_look

#: two-sided nominal levels at looks of 8, 16 and 32 trainings, by number of claims, as the design states them.
TABLE = {
    1: (0.0297, 0.0158, 0.0149),
    3: (0.00989, 0.00474, 0.00444),
    4: (0.00742, 0.00346, 0.00325),
    5: (0.00593, 0.00273, 0.00256),
    8: (0.00371, 0.00165, 0.00155),
    25: (0.00118, 0.00049, 0.00047),
}


@pytest.mark.parametrize("m_claims", TABLE)
def test_the_published_table(m_claims):
    assert look_levels(m_claims) == pytest.approx(TABLE[m_claims], rel=0.015)


def test_crossing_probabilities_by_simulation():
    # 400,000 walks with information 8, 16, 32: what is crossed by each look is 60, 80 and 100 % of .05 (less the hundredth kept back)
    rng = np.random.default_rng(4)
    steps = rng.standard_normal((400_000, 3)) * np.sqrt([8.0, 8.0, 16.0])
    z = np.abs(np.cumsum(steps, axis=1) / np.sqrt([8.0, 16.0, 32.0]))
    crossed = np.maximum.accumulate(z > stats.norm.isf(np.array(look_levels(1)) / 2), axis=1).mean(axis=0)
    assert crossed == pytest.approx([0.0297, 0.0396, 0.0495], abs=4 * np.sqrt(0.05 * 0.95 / 400_000))


def test_one_look_spends_everything_and_more_claims_leave_less():
    assert look_levels(1, looks=one_look(12)) == pytest.approx((0.0495,), rel=1e-9)
    levels = [look_levels(m) for m in range(1, 12)]
    assert all(np.all(np.diff(level) < 0) for level in levels)
    assert all(more[k] < less[k] for less, more in pairwise(levels) for k in range(3))


@pytest.mark.parametrize(("n_runs", "look"), [(3, 0), (8, 0), (15, 0), (16, 1), (31, 1), (32, 2), (64, 2)])
def test_which_look_has_been_reached(n_runs, look):
    assert PLANNED.index(n_runs) == look


def test_impossible_requests():
    with pytest.raises(ValueError, match="at least one claim"):
        look_levels(0)
    with pytest.raises(ValueError, match="alpha"):
        look_levels(1, 1.5)
    assert Looks().last == 32

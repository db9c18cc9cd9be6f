"""The spread between and within trainings: by hand, against REML, and how often its intervals hold."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from loralab.infer.power import RunSd
from loralab.infer.spread import estimate_spread, mean_squares


def test_by_hand():
    # runs (1, 3), (5, 7), (9, 11): means 2, 6, 10, grand mean 6.
    # between: 2 * (16 + 0 + 16) / 2 = 32; within: 6 * 1 / 3 = 2; n0 = 2
    # variance between runs (32 - 2) / 2 = 15; ICC 15 / 17; spread of the means sqrt(32 / 2) = 4
    values, runs = np.array([1.0, 3, 5, 7, 9, 11]), np.repeat([0, 1, 2], 2)
    assert mean_squares(values, runs) == (32, 2, 3, 2)
    found = estimate_spread(values, runs)
    assert found.between.value == pytest.approx(math.sqrt(15))
    assert found.within.value == pytest.approx(math.sqrt(2))
    assert found.icc.value == pytest.approx(15 / 17)
    assert found.of_means.value == pytest.approx(np.std([2, 6, 10], ddof=1))
    # within, 3 degrees of freedom: 6 / 9.3484 and 6 / 0.2158 (chi-square table, .975 and .025)
    assert (found.within.low**2, found.within.high**2) == pytest.approx((6 / 9.3484, 6 / 0.2158), rel=1e-3)
    # ICC: F = 16 on (2, 3); F table .975: 16.04, and .025: 1 / 39.17: (16/16.04 - 1) < 0 -> 0; (16*39.17 - 1) / (16*39.17 + 1)
    assert found.icc.low == 0
    assert found.icc.high == pytest.approx((16 * 39.17 - 1) / (16 * 39.17 + 1), abs=1e-4)


def test_unequal_runs_by_hand():
    # runs (0), (2, 4), n = 3: n0 = 3 - 5/3 = 4/3; grand mean 2; between: 1*4 + 2*1 = 6 on 1; within: 2 on 1
    between, within, n_runs, n0 = mean_squares(np.array([0.0, 2, 4]), np.array([7, 3, 3]))
    assert (between, within, n_runs) == (6, 2, 2)
    assert n0 == pytest.approx(4 / 3)
    assert estimate_spread(np.array([0.0, 2, 4]), np.array([7, 3, 3])).between.value == pytest.approx(math.sqrt(3))


def test_against_reml_and_scipy():
    # with equally many pictures a run, REML is the analysis of variance where that is positive
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(5)
    runs = np.repeat(np.arange(16), 6)
    values = rng.normal(0, 2, 16)[runs] + rng.normal(0, 3, len(runs))
    found = estimate_spread(values, runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = MixedLM(values, np.ones(len(values)), groups=runs).fit(reml=True)
    assert found.between.value == pytest.approx(math.sqrt(float(np.asarray(fitted.cov_re).item())), rel=2e-3)
    assert found.within.value == pytest.approx(math.sqrt(fitted.scale), rel=2e-3)
    between, within, _, _ = mean_squares(values, runs)
    assert between / within == pytest.approx(stats.f_oneway(*(values[runs == r] for r in range(16))).statistic)


def test_a_negative_variance_is_none_and_agreement_is_not_certainty():
    alike = estimate_spread(np.array([1.0, 3, 4.2, 1, 1, 3]), np.repeat([0, 1, 2], 2))
    assert (alike.between.value, alike.icc.value) == (0, 0)
    assert alike.between.high > 0
    with pytest.raises(ValueError, match="2 trainings"):
        estimate_spread(np.array([1.0, 2]), np.array([0, 0]))
    with pytest.raises(ValueError, match="2 pictures"):
        estimate_spread(np.array([1.0, 2]), np.array([0, 1]))


@pytest.mark.parametrize("icc", [0.05, 0.3, 0.7])
def test_intervals_hold_in_95_percent(icc):
    # 8 runs of 6 pictures; the bound of `between` is conservative by construction, the others are exact
    rng, n = np.random.default_rng([20_260_711, int(100 * icc)]), 1500
    between, within = math.sqrt(icc), math.sqrt(1 - icc)
    runs = np.repeat(np.arange(8), 6)
    truth = {"between": between, "within": within, "icc": icc, "of_means": math.sqrt(icc + (1 - icc) / 6)}
    hits = dict.fromkeys(truth, 0)
    for _ in range(n):
        found = estimate_spread(rng.normal(0, between, 8)[runs] + rng.normal(0, within, 48), runs)
        for name, value in truth.items():
            estimate = getattr(found, name)
            hits[name] += estimate.low <= value <= estimate.high
    low, high = (bound / n for bound in stats.binom.interval(1 - 1e-4, n, 0.95))
    print(hits)
    for name in ("within", "icc", "of_means"):
        assert low <= hits[name] / n <= high, name
    assert hits["between"] / n >= low


def test_a_plan_uses_both_parts_where_they_are_known():
    # between 3, within 8: at 4 pictures sqrt(9 + 16) = 5, at 16 pictures sqrt(9 + 4)
    assert RunSd(5, 4, 16, "", between=3, within=8).at(4) == 5
    assert RunSd(5, 4, 16, "", between=3, within=8).at(16) == pytest.approx(math.sqrt(13))
    assert RunSd(5, 4, 16, "").at(16) == 5

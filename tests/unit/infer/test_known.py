"""The regression estimator against the design's formulas, a brute-force search for the best slope, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loralab.infer.known import LEAST_KNOWN, BaseKnown, adjust, known_from, pooled, slope


def paired(rng, n, rho):
    x = rng.standard_normal(n)
    return rho * x + math.sqrt(1 - rho**2) * rng.standard_normal(n), x


def test_the_slope_by_hand():
    # y = (0, 0, 2, 2, 1), x = (0, 1, 1, 2, 1): means 1 and 1; cov = (1 + 0 + 0 + 1 + 0) / 4 = .5, var x = 2 / 4 = .5, var y = 4 / 4 = 1;
    # r^2 = .25 / .5 = .5, k = 1 - (.5 / (.5 * 3)) = 2/3, slope = 2/3 * .5 / .5
    assert slope(np.array([0.0, 0, 2, 2, 1]), np.array([0.0, 1, 1, 2, 1])) == pytest.approx(2 / 3)


def test_a_weak_relation_gets_no_slope():
    y, x = np.array([1.0, 0, 1, 0, 1, 0]), np.array([1.0, 1, 0, 0, 1, 1])
    r2 = np.corrcoef(y, x)[0, 1] ** 2
    assert (1 - r2) / (r2 * 4) > 1 if r2 else True
    assert slope(y, x) == 0.0
    assert slope(np.ones(9), np.arange(9.0)) == slope(np.arange(9.0), np.ones(9)) == 0.0


def test_with_a_mean_known_for_certain_the_formulas_are_the_designs():
    y, x = paired(np.random.default_rng(0), 60, 0.7)
    theta = slope(y, x)
    against = adjust(y, x, 0.25, 1e-12, "against")
    assert against.theta == pytest.approx(theta, abs=1e-9)
    assert against.z == pytest.approx(y - theta * x - (1 - theta) * 0.25, abs=1e-9)
    between = adjust(y, x, 0.25, 1e-12, "between")
    assert between.z == pytest.approx(y - theta * (x - 0.25), abs=1e-9)


def test_with_nothing_known_it_is_the_plain_difference():
    y, x = paired(np.random.default_rng(1), 48, 0.5)
    against, between = (adjust(y, x, 0.0, math.inf, kind) for kind in ("against", "between"))
    assert against.z == pytest.approx(y - x)
    assert between.z == pytest.approx(y)
    assert (against.v, between.v) == (0.0, 0.0)


@pytest.mark.parametrize(("kind", "truth"), [("against", 1.0), ("between", 0.0)])
@pytest.mark.parametrize("n_known", [40, 500])
def test_the_best_slope_by_brute_force(kind, truth, n_known):
    # without shrinkage to speak of (20,000 pairs), the theta taken minimises var(z) / n + v over a grid
    y, x = paired(np.random.default_rng(2), 20_000, 0.6)
    n, error = 100, float(np.var(x, ddof=1)) / n_known
    thetas = np.linspace(-0.5, 1.5, 4001)
    spread = np.var(y) - 2 * thetas * np.cov(y, x)[0, 1] + thetas**2 * np.var(x)
    best = thetas[np.argmin(spread / n + (truth - thetas) ** 2 * error)]
    own = error * len(x) / n  # so that var(x) / pairs stands to the error as it would at 100 pairs
    assert adjust(y, x, 0.0, own * n / len(x), kind).theta == pytest.approx(adjust(y, x, 0.0, error, kind).theta)
    y100, x100 = y[:n], x[:n]
    w = error / (error + np.var(x100, ddof=1) / n)
    expected = slope(y100, x100) * (1 - w) + w * truth
    assert adjust(y100, x100, 0.0, error, kind).theta == pytest.approx(min(1.0, expected), abs=1e-9)
    w_true = error / (error + np.var(x) / n)
    assert best == pytest.approx(0.6 * (1 - w_true) + w_true * truth, abs=0.02)


def test_what_is_known_makes_the_estimate_better_and_no_worse_than_it_says():
    # y = .7 x + noise; truth 0; base known from 200 pictures: variance of the estimate against the plain difference, and its own claim
    rng = np.random.default_rng(3)
    plain, better, claimed = [], [], []
    for _ in range(4000):
        y, x = paired(rng, 48, 0.7)
        known = known_from(rng.standard_normal(200))
        found = adjust(y, x, known.mean, known.error, "against")
        plain.append((y - x).mean())
        better.append(found.z.mean())
        claimed.append(found.z.var(ddof=1) / 48 + found.v)
    assert abs(np.mean(better)) < 4 * np.std(better) / math.sqrt(4000)
    assert np.var(better) < 0.96 * np.var(plain)
    assert np.mean(claimed) == pytest.approx(np.var(better), rel=0.08)


def test_sets_of_pictures_are_pooled_as_if_they_were_one():
    values = np.random.default_rng(5).normal(3, 2, 300)
    parts = [known_from(values[:100]), None, known_from(values[100:])]
    whole = known_from(values)
    found = pooled(parts)
    assert (found.mean, found.variance, found.n) == (pytest.approx(whole.mean), pytest.approx(whole.variance), 300)
    assert pooled([None]) is None
    assert known_from(values[: LEAST_KNOWN - 1]) is None
    assert math.isinf(BaseKnown(0.0, 1.0, 0).error)


def test_constant_readings_are_no_trouble():
    zero = np.zeros(12)
    for kind in ("against", "between"):
        found = adjust(zero, zero, 0.0, 0.0, kind)
        assert found.z == pytest.approx(zero)
        assert found.v == 0

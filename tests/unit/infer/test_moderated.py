"""Moderated variances: the prior against a brute-force likelihood and planted values, the variance by hand, and what is never borrowed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from loralab.infer.moderated import (
    FEW_D0,
    MOST_D0,
    Moderated,
    Prior,
    Squares,
    fit_prior,
    moderate,
    prior_ratio,
    squares_of,
    trigamma_inverse,
)


def drawn(rng, n_contrasts, scale, d0, n_runs=8, n_pictures=6, pi=1.12):
    """Contrasts whose squares follow the model: MSB of a variance scale * pi * sigma^2 * d0 / chi2(d0), MSW of sigma^2."""
    sigma2 = np.exp(rng.normal(0, 2, n_contrasts))
    spread = np.ones(n_contrasts) if math.isinf(d0) else d0 / rng.chisquare(d0, n_contrasts)
    within = sigma2 * rng.chisquare(n_runs * (n_pictures - 1), n_contrasts) / (n_runs * (n_pictures - 1))
    between = scale * pi * sigma2 * spread * rng.chisquare(n_runs - 1, n_contrasts) / (n_runs - 1)
    return [Squares(float(b), float(w), n_runs, n_runs * n_pictures, pi) for b, w in zip(between, within, strict=True)]


def test_the_ratio_by_hand():
    # 6 pictures at likeness .2: 1 + 6 * .2 / .8 = 2.5; the expected MSB / MSW of a one-way layout
    assert prior_ratio(6, 0.2) == 2.5
    assert prior_ratio(6, 0.0) == 1.0


@pytest.mark.parametrize("value", [1e-8, 1e-3, 0.4, 1.0, 30.0, 1e9])
def test_trigamma_inverse(value):
    assert float(special.polygamma(1, trigamma_inverse(value))) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(("scale", "d0"), [(1.5, 4.0), (2.5, 8.0)])
def test_planted_priors_are_found(scale, d0):
    found = fit_prior(drawn(np.random.default_rng(0), 6000, scale, d0))
    assert found.scale == pytest.approx(scale, rel=0.06)
    assert found.df == pytest.approx(d0, rel=0.2)


def test_without_variation_beyond_chance_the_prior_counts_most():
    found = fit_prior(drawn(np.random.default_rng(1), 4000, 1.3, math.inf))
    assert (found.df, found.scale) == (MOST_D0, pytest.approx(1.3, rel=0.05))


def test_as_limma_fits_a_scaled_f():
    # limma's fitFDist (Smyth 2004, section 6.2) for variances s2 of df1: with MSW known exactly (df2 -> inf) ours is the same formula:
    # e = log s2 - digamma(df1/2) + log(df1/2); d0 = 2 trigamma^-1(mean((e - mean e)^2 n/(n-1)) - trigamma(df1/2)); s0^2 = exp(mean e +
    # digamma(d0/2) - log(d0/2)). Written out once more here, independently of the code.
    rng = np.random.default_rng(2)
    df1, n = 7, 400
    s2 = 2.0 * (6 / rng.chisquare(6, n)) * rng.chisquare(df1, n) / df1
    e = np.log(s2) - special.digamma(df1 / 2) + np.log(df1 / 2)
    target = e.var(ddof=1) - special.polygamma(1, df1 / 2)
    half = optimize.brentq(lambda x: special.polygamma(1, x) - target, 1e-3, 1e5)
    s02 = math.exp(e.mean() + special.digamma(half) - math.log(half))
    found = fit_prior([Squares(float(value), 1.0, df1 + 1, 10**7, 1.0) for value in s2])
    assert (found.scale, found.df) == (pytest.approx(s02, rel=1e-4), pytest.approx(2 * half, rel=1e-3))


def test_the_prior_maximises_the_likelihood_roughly():
    # moments, not likelihood: close to the F likelihood's maximum all the same
    contrasts = drawn(np.random.default_rng(3), 1500, 1.4, 6.0)
    ratios = np.array([c.between / (c.pi * c.within) for c in contrasts])

    def badness(values):
        scale, d0 = np.exp(values)
        df_w = contrasts[0].df_within
        d = 1 / (1 / d0 + 1 / df_w)  # MSB / (pi MSW) is close to scale * F(7, d)
        return -stats.f.logpdf(ratios / scale, 7, d).sum() + len(ratios) * math.log(scale)

    best = np.exp(optimize.minimize(badness, [0.0, 1.0], method="Nelder-Mead").x)
    found = fit_prior(contrasts)
    assert found.scale == pytest.approx(best[0], rel=0.08)
    assert found.df == pytest.approx(best[1], rel=0.3)


def test_few_contrasts_take_the_careful_prior():
    contrasts = drawn(np.random.default_rng(4), 9, 3.0, 5.0)
    silent = [Squares(0.0, 0.0, 8, 48, 1.0)] * 30
    four = drawn(np.random.default_rng(4), 30, 3.0, 5.0, n_runs=4)
    assert fit_prior(contrasts) == fit_prior([*contrasts, *silent]) == fit_prior(four) == Prior(1.0, FEW_D0)


def test_the_scale_never_falls_below_one():
    assert fit_prior(drawn(np.random.default_rng(5), 200, 0.4, math.inf)).scale == 1.0


def test_the_variance_by_hand():
    # R 8, n 6: df within 40; d = 1 / (1/4 + 1/40) = 3.636; MSB 2, pi MSW 3, scale 1: (3.636 * 3 + 7 * 2) / 10.636 = 2.342 > 2
    found = moderate(Squares(2.0, 2.0, 8, 48, 1.5), Prior(1.0, 4.0))
    d = 1 / (1 / 4 + 1 / 40)
    assert (found.s2, found.df) == (pytest.approx((d * 3 + 14) / (d + 7)), pytest.approx(d + 7))
    # a contrast that scatters more than the study expects keeps its own square, with the degrees that the prior adds
    assert moderate(Squares(9.0, 2.0, 8, 48, 1.5), Prior(1.0, 4.0)).s2 == 9.0


def test_below_eight_trainings_nothing_is_borrowed():
    assert moderate(Squares(2.0, 5.0, 4, 24, 1.5), Prior(1.0, 12.0)) == Moderated(2.0, 3)
    assert moderate(Squares(2.0, 0.0, 8, 8, 1.0), Prior()) == Moderated(2.0, 7)


def test_squares_by_hand():
    # two trainings of two: (1, 3) and (5, 7): means 2, 6; MSB = 2 * (4 + 4) / 1 = 16; MSW = (2 + 2) / 2 = 2
    found = squares_of(np.array([1.0, 3, 5, 7]), np.array([0, 0, 1, 1]), 0.2)
    assert (found.between, found.within, found.n_runs, found.df_within, found.pi) == (16.0, 2.0, 2, 2, 1.5)
    single = squares_of(np.array([1.0, 3, 5]), np.array([0, 1, 2]), 0.2)
    assert (single.between, single.within, single.pi) == (4.0, 0.0, 1.0)


def test_order_changes_nothing():
    rng = np.random.default_rng(6)
    z, runs = rng.standard_normal(48), np.repeat(np.arange(8), 6)
    order = rng.permutation(48)
    one, other = squares_of(z, runs, 0.1), squares_of(z[order], runs[order], 0.1)
    assert (one.between, one.within) == (pytest.approx(other.between), pytest.approx(other.within))

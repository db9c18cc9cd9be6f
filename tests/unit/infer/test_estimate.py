"""Intervals, sign-flip p and findings: answers by hand, and scipy and statsmodels as references."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from loralab.infer.estimate import estimate_contrast, half_width_floor, sign_flip_p, t_critical
from loralab.infer.verdict import Contrast

ROOT = 20_260_711
EFFECTS = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=3, max_size=12)


def contrast_of(effects, level=0.95, floor=1e-6) -> Contrast:
    return estimate_contrast(np.array(effects, float), n_images=len(effects), level=level, floor=floor)


def test_interval_by_hand():
    # effects 1, 2, 3: mean 2, sd 1, standard error 1 / sqrt 3 = .57735; t(2 df, .975) = 4.302653; half width 2.484138
    contrast = contrast_of([1, 2, 3])
    assert contrast.effect == pytest.approx(2)
    assert contrast.low == pytest.approx(2 - 2.484138, abs=1e-5)
    assert contrast.high == pytest.approx(2 + 2.484138, abs=1e-5)
    assert contrast.run_effects == (1, 2, 3)
    assert (contrast.n_runs, contrast.n_images, contrast.level) == (3, 3, 0.95)


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 3, 1 - 0.01 / 5])
def test_interval_against_scipy_and_statsmodels(level):
    rng = np.random.default_rng(ROOT)
    worst = 0.0
    for n_runs in (3, 8, 16):
        effects = rng.normal(0.4, 1.3, n_runs)
        ours = contrast_of(effects, level)
        scipy_low, scipy_high = stats.ttest_1samp(effects, 0).confidence_interval(level)
        sm_low, sm_high = DescrStatsW(effects).tconfint_mean(alpha=1 - level)
        worst = max(
            worst, *(abs(a - b) for a, b in ((ours.low, scipy_low), (ours.high, scipy_high), (ours.low, sm_low), (ours.high, sm_high)))
        )
    assert worst < 1e-10


def test_one_run_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 trainings, not 1"):
        contrast_of([1.0])


@pytest.mark.parametrize(
    ("effects", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only +++ and --- reach a sum of 6
        ([1, -2, 3], 6 / 8),  # |sum| = 2; of the sums 6, 4, 2, 0 and their mirrors all but the two zeros reach it
        ([1, 1, 1, 1, 1], 2 / 32),
        ([0, 0, 0], 1.0),
    ],
)
def test_sign_flip_by_hand(effects, p):
    assert sign_flip_p(effects) == pytest.approx(p)


def test_sign_flip_against_brute_force():
    effects = np.random.default_rng(ROOT).normal(0.5, 1, 9)
    sums = [abs(np.dot(signs, effects)) for signs in itertools.product((1, -1), repeat=9)]
    assert sign_flip_p(effects) == pytest.approx(np.mean(np.array(sums) >= abs(effects.sum()) - 1e-12))


def test_sign_flip_against_scipy():
    effects = np.random.default_rng(ROOT + 1).normal(0.6, 1, 8)
    reference = stats.permutation_test((effects,), lambda x: np.mean(x), permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(effects) == pytest.approx(reference.pvalue)


def test_sign_flip_beyond_16_runs_is_drawn_once_and_for_all():
    effects = np.random.default_rng(ROOT).normal(0.4, 1, 20)
    p = sign_flip_p(effects)
    assert p == sign_flip_p(effects[::-1]) == sign_flip_p(-effects)
    # 2^14 patterns: the standard error of p is at most .004; the exact value is close to the t-test's for 20 normal runs
    assert p == pytest.approx(stats.ttest_1samp(effects, 0).pvalue, abs=0.02)
    assert sign_flip_p(np.full(20, 5.0)) >= 1 / 2**14  # never 0


def test_floor_of_class_readings_by_hand():
    # 8 runs of 1 picture: n = 8 independent pairs; (1 - q)^8 = .05 gives q = 1 - .05^(1/8) = .312344
    assert half_width_floor(n_runs=8, n_pairs=8, level=0.95, few_valued=True, span=1, error=0) == pytest.approx(0.312344, abs=1e-6)
    # 8 runs of 4 pictures: 32 / (1 + 3 * .1) = 24.615 independent pairs; 1 - .05^(1/24.615) = .114587
    assert half_width_floor(n_runs=8, n_pairs=32, level=0.95, few_valued=True, span=1, error=0) == pytest.approx(0.114587, abs=1e-6)
    # the same for an instrument with a range of 1.5, as wide in proportion
    assert half_width_floor(n_runs=8, n_pairs=32, level=0.95, few_valued=True, span=1.5, error=0) == pytest.approx(0.171881, abs=1e-6)


def test_where_the_trainings_of_a_study_differ_much_fewer_pictures_count_as_independent():
    # a design effect of 13 leaves 96 / 13 = 7.385 pairs: 1 - .05^(1 / 7.385) = .3335; one below the usual 2.1 changes nothing
    args = {"n_runs": 8, "n_pairs": 96, "level": 0.95, "few_valued": True, "span": 1, "error": 0}
    assert half_width_floor(**args, design=13) == pytest.approx(0.3335, abs=1e-4)
    assert half_width_floor(**args, design=1.2) == half_width_floor(**args) == pytest.approx(1 - 0.05 ** (2.1 / 96))


@pytest.mark.parametrize(("n_runs", "level"), [(8, 0.95), (30, 1 - 0.05 / 3)])
def test_floor_of_class_readings_against_statsmodels(n_runs, level):
    # none of n: Clopper and Pearson's one-sided upper bound, which is the two-sided one at twice the error
    upper = proportion_confint(0, n_runs, 2 * (1 - level), "beta")[1]
    assert half_width_floor(n_runs=n_runs, n_pairs=n_runs, level=level, few_valued=True, span=1, error=0) == pytest.approx(upper)


def test_floor_of_other_readings_by_hand():
    # error 3 on one picture: sqrt(2) * 3 / sqrt(32) = .75 for a difference of means over 32 pairs
    assert half_width_floor(n_runs=8, n_pairs=32, level=0.95, few_valued=False, span=100, error=3) == pytest.approx(0.75)
    # a card that says 0: one of 255 levels of a range of 51 is .2; over 4 pairs .1
    assert half_width_floor(n_runs=2, n_pairs=4, level=0.95, few_valued=False, span=51, error=0) == pytest.approx(0.1)


def test_floor_shrinks_with_pictures_and_never_vanishes():
    widths = [half_width_floor(n_runs=8, n_pairs=8 * s, level=0.99, few_valued=True, span=1, error=0) for s in (1, 2, 4, 16, 64)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 0


def test_runs_that_agree_exactly_keep_a_width():
    contrast = contrast_of([0.5] * 8, floor=0.14)
    assert (contrast.low, contrast.high) == pytest.approx((0.36, 0.64))


@given(EFFECTS)
def test_flipping_signs_flips_the_interval(effects):
    ours, flipped = contrast_of(effects), contrast_of([-e for e in effects])
    assert (flipped.effect, flipped.low, flipped.high) == (-ours.effect, -ours.high, -ours.low)
    assert flipped.p_sign_flip == ours.p_sign_flip


@given(EFFECTS, st.randoms(use_true_random=False))
def test_order_of_runs_changes_nothing(effects, random):
    shuffled = effects.copy()
    random.shuffle(shuffled)
    ours, theirs = contrast_of(effects), contrast_of(shuffled)
    assert (theirs.effect, theirs.low, theirs.high) == pytest.approx((ours.effect, ours.low, ours.high), abs=1e-9)
    assert theirs.p_sign_flip == ours.p_sign_flip


@given(EFFECTS, st.floats(0.5, 0.999))
def test_interval_is_never_of_zero_width_and_holds_the_effect(effects, level):
    contrast = contrast_of(effects, level, floor=0.01)
    assert contrast.high - contrast.low >= 0.02 - 1e-12
    assert contrast.low < contrast.effect < contrast.high
    assert 0 < contrast.p_sign_flip <= 1


def test_t_critical_of_many_runs_is_normal():
    assert t_critical(100_000, 0.95) == pytest.approx(1.959964, abs=1e-4)
    assert math.isfinite(t_critical(2, 0.99))

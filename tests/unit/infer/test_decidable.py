"""What a budget decides: figures of the design, statsmodels as the reference, and exact inverses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from loralab.infer.decidable import MAX_RUNS, decidable_effect, decidable_no_change, power_beyond, power_no_change, runs_needed


@pytest.mark.parametrize(("n_runs", "effect"), [(8, 1.5), (6, 1.9), (4, 3.1)])
def test_figures_of_the_design(n_runs, effect):
    # three claims, margin 0, spread 1: the standardised effects that the design page states, to their one decimal
    assert round(decidable_effect(1.0, n_runs, 3, 0.0), 1) == effect


@pytest.mark.parametrize(("n_runs", "m_claims"), [(4, 1), (8, 3), (16, 5)])
def test_against_statsmodels(n_runs, m_claims):
    # one-sided at half the level: the lab counts a finding on the effect's own side only
    solve = TTestPower().solve_power
    reference = solve(effect_size=None, nobs=n_runs, alpha=0.05 / m_claims / 2, power=0.8, alternative="larger")
    assert decidable_effect(1.0, n_runs, m_claims, 0.0) == pytest.approx(float(reference), abs=1e-4)


def test_margin_and_spread_scale_as_they_must():
    unit = decidable_effect(1.0, 8, 3, 0.0)
    assert decidable_effect(2.5, 8, 3, 4.0) == pytest.approx(4.0 + 2.5 * unit)
    assert decidable_no_change(2.5, 8, 3) == pytest.approx(2.5 * decidable_no_change(1.0, 8, 3))


def test_powers_at_the_decidable_sizes_are_80_percent():
    assert power_beyond(decidable_effect(1.3, 8, 3, 0.7), 1.3, 8, 3, 0.7) == pytest.approx(0.8, abs=1e-6)
    assert power_no_change(0.0, 1.3, 8, 3, decidable_no_change(1.3, 8, 3)) == pytest.approx(0.8, abs=1e-4)


def test_no_change_with_a_known_spread():
    # with very many runs the spread is known, and |mean| + 1.96 s <= margin needs |z| <= margin / s - 1.96; 80 % of |z| are
    # below 1.2816, so the margin is 3.2416 standard errors
    n_runs = 10_000
    assert decidable_no_change(1.0, n_runs, 1) * math.sqrt(n_runs) == pytest.approx(3.2416, abs=2e-3)


def test_runs_needed_is_the_smallest_number_that_does():
    for effect, margin in ((1.5, 0.0), (2.0, 0.8), (0.0, 1.0), (0.2, 1.0)):
        n_runs = runs_needed(effect, 1.0, 3, margin)
        chance = power_beyond if effect > margin else power_no_change
        assert chance(effect, 1.0, n_runs, 3, margin) >= 0.8
        assert chance(effect, 1.0, n_runs - 1, 3, margin) < 0.8


def test_runs_needed_by_statsmodels():
    reference = TTestPower().solve_power(effect_size=0.5, nobs=None, alpha=0.025, power=0.8, alternative="larger")
    assert runs_needed(0.5, 1.0, 1, 0.0) == math.ceil(reference)


def test_the_rule_of_three_shrinks_with_the_runs_themselves():
    # no scatter to speak of: decided as soon as 3 / R (a floor of the rule of three's kind) is below the margin of .1: 30 runs and a bit;
    # had it shrunk with the root of the runs from .375 at 8, it would have taken 113
    needed = runs_needed(0.0, 1e-6, 1, 0.1, at_least=8, floor_at=lambda n_runs: 3 / n_runs)
    assert needed in (30, 31)
    assert runs_needed(0.0, 1e-6, 1, 0.1, at_least=8, floor_at=lambda n_runs: 0.375 * math.sqrt(8 / n_runs)) == 113


def test_hopeless_and_too_few():
    assert runs_needed(1.0, 1.0, 3, 1.0) is None  # an effect of exactly the margin
    assert runs_needed(0.01, 1.0, 3, 0.0) is None  # far more than 256 runs
    assert runs_needed(50.0, 1.0, 1, 0.0, at_least=9) == 9
    assert decidable_effect(1.0, 2, 3, 0.0) == decidable_no_change(1.0, 2, 3) == math.inf
    assert MAX_RUNS == 256


@pytest.mark.parametrize("call", [decidable_effect, lambda sd, n, m, margin, **k: decidable_no_change(sd, n, m, **k)])
@pytest.mark.parametrize("broken", [{"sd": 0.0}, {"m": 0}, {"power": 1.0}, {"alpha": 0.9}])
def test_impossible_requests(call, broken):
    args = {"sd": 1.0, "m": 3} | {k: v for k, v in broken.items() if k in ("sd", "m")}
    with pytest.raises(ValueError, match="need sd_runs > 0"):
        call(args["sd"], 8, args["m"], 0.0, **{k: v for k, v in broken.items() if k in ("alpha", "power")})


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 40), st.integers(1, 8), st.floats(0.1, 5))
def test_more_runs_and_fewer_claims_decide_more(n_runs, m_claims, sd_runs):
    assert decidable_effect(sd_runs, n_runs + 1, m_claims, 0.0) < decidable_effect(sd_runs, n_runs, m_claims, 0.0)
    assert decidable_effect(sd_runs, n_runs, m_claims, 0.0) < decidable_effect(sd_runs, n_runs, m_claims + 1, 0.0)
    assert decidable_no_change(sd_runs, n_runs + 1, m_claims) < decidable_no_change(sd_runs, n_runs, m_claims)

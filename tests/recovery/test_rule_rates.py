"""A quick version of benchmarks/rule_rates.py: intervals hold the truth, studies of nothing stay silent, wrong twins are caught."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import loralab.infer.estimate as estimate
from loralab.infer.moderated import Moderated, moderate

PATH = Path(__file__).parents[2] / "benchmarks" / "rule_rates.py"


@pytest.fixture(scope="module")
def rates():
    spec = importlib.util.spec_from_file_location("rule_rates", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rule_rates"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def least(rate: float, n: int) -> float:
    """Return the share of n below which fewer than 1 in 10,000 come to lie, if the true share is ``rate``."""
    return float(stats.binom.ppf(1e-4, n, rate)) / n


@pytest.mark.parametrize(
    ("name", "likeness", "at_least"),
    [("normal", 0.1, 0.95), ("skewed (exponential)", 0.2, 0.94), ("share of 0.1", 0.2, 0.93), ("three values", 0.1, 0.94)],
)
def test_intervals_hold_the_truth(rates, name, likeness, at_least):
    design = next(design for design in rates.DESIGNS if design.name == name)
    n_studies = 20
    for held, what in zip(rates._covered(design, 8, likeness, n_studies, 7), ("against the base", "between arms"), strict=True):
        print(f"\n  {name}, likeness {likeness}, 8 trainings, {what}: {held:.1%} of {n_studies * rates.ARMS}", end="")
        assert held >= least(at_least, n_studies * rates.ARMS)


@pytest.mark.parametrize("name", ["normal", "share of 0.3"])
def test_studies_in_which_nothing_is_there_stay_silent(rates, name):
    # five claims, three looks: anything false is said in at most 5 % of studies, a direction in about 1 %
    design, rng, n = next(design for design in rates.DESIGNS if design.name == name), np.random.default_rng(11), 20
    kind = "continuous" if design.shape is not None else "share"
    found = np.array([rates._false(design, 0.05, rng, kind) for _ in range(n)])
    print(f"\n  {name}: a size is told in {found[:, 0].sum()} of {n} A/A studies, a direction in {found[:, 1].sum()}", end="")
    assert found[:, 0].sum() <= stats.binom.ppf(1 - 1e-3, n, 0.05)
    assert found[:, 1].sum() <= stats.binom.ppf(1 - 1e-3, n, 0.01)


def no_spread_between_trainings(squares, prior, least_within=0.0):
    """Pictures for trainings: the scatter inside them alone."""
    return Moderated(squares.within, squares.df_within)


def too_sure(squares, prior, least_within=0.0):
    """Four times the degrees of freedom that there are, and a variance that forgets its own contrast."""
    return Moderated(min(squares.between, squares.pi * squares.within), 4 * moderate(squares, prior).df)


@pytest.mark.parametrize("twin", [no_spread_between_trainings, too_sure])
def test_wrong_variances_are_caught(rates, monkeypatch, twin):
    monkeypatch.setattr(estimate, "moderate", twin)
    held = rates._covered(rates.DESIGNS[0], 8, 0.2, 15, 7)[1]
    assert held < least(0.95, 15 * rates.ARMS)

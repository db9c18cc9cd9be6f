"""How much of a measurement's scatter lies between trainings and how much between the pictures of one training.

In: paired differences (arm - base) with the training that each belongs to. Out: standard deviations and the likeness (ICC) with
intervals, in the instrument's unit. One-way random effects: difference = mean + training + picture (Searle, Casella and McCulloch,
Variance Components, 1992, chapter 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Standard deviations between and within trainings, and the ICC = between^2 / (between^2 + within^2).

    ``of_means`` is the standard deviation of the trainings' means as they were drawn: what a verdict's interval is made of.
    """

    n_runs: int
    n_pictures: int
    pictures_a_run: float  # the effective number n0, which equals the number drawn where all runs drew equally many
    of_means: Estimate
    between: Estimate
    within: Estimate
    icc: Estimate


def mean_squares(values: np.ndarray, runs: np.ndarray) -> tuple[float, float, int, float]:
    """Return (between, within, number of runs, n0) of the one-way analysis of variance of ``values`` (n,) by ``runs`` (n,)."""
    _, run_of = np.unique(runs, return_inverse=True)
    counts = np.bincount(run_of)
    means = np.bincount(run_of, weights=values) / counts
    n, n_runs = len(values), len(counts)
    between = float((counts * (means - values.mean()) ** 2).sum()) / (n_runs - 1)
    within = float(((values - means[run_of]) ** 2).sum()) / (n - n_runs)
    n0 = (n - float((counts**2).sum()) / n) / (n_runs - 1)
    return between, within, n_runs, n0


def estimate_spread(values: np.ndarray, runs: np.ndarray, level: float = 0.95) -> Spread:
    """Return the spread of ``values`` (n,) between and within ``runs`` (n,), with intervals at ``level``.

    Estimates: analysis of variance, a negative variance set to 0. Intervals: within, chi-square; ICC, from F (Searle 1971, page 414),
    exact for equally many pictures a run; between, Williams (1962) and Tukey, which covers at least 2 * level - 1 and in practice
    about ``level``; the means' spread, chi-square. Raises ValueError with fewer than 2 runs or no run of 2 pictures.
    """
    n = len(values)
    if len(np.unique(runs)) < 2 or n <= len(np.unique(runs)):
        raise ValueError(f"{n} pictures of {len(np.unique(runs))} trainings; a spread needs 2 trainings, and 2 pictures in one of them")
    between, within, n_runs, n0 = mean_squares(np.asarray(values, float), np.asarray(runs))
    df_between, df_within, tail = n_runs - 1, n - n_runs, (1 - level) / 2
    chi_between, chi_within = (stats.chi2.ppf([tail, 1 - tail], df) for df in (df_between, df_within))
    f_low, f_high = stats.f.ppf([tail, 1 - tail], df_between, df_within)
    variance = max(0.0, (between - within) / n0)
    total = variance + within
    return Spread(
        n_runs=n_runs,
        n_pictures=n,
        pictures_a_run=n0,
        of_means=_root(between / n0, df_between * between / n0 / chi_between[1], df_between * between / n0 / chi_between[0]),
        between=_root(
            variance, df_between * (between - f_high * within) / (n0 * chi_between[1]),
            df_between * (between - f_low * within) / (n0 * chi_between[0]),
        ),
        within=_root(within, df_within * within / chi_within[1], df_within * within / chi_within[0]),
        icc=Estimate(variance / total if total else 0.0, *_icc_bounds(between, within, n0, f_low, f_high)),
    )  # fmt: skip


def _root(value: float, low: float, high: float) -> Estimate:
    return Estimate(math.sqrt(value), math.sqrt(max(0.0, low)), math.sqrt(max(0.0, high)))


def _icc_bounds(between: float, within: float, n0: float, f_low: float, f_high: float) -> tuple[float, float]:
    """Return the interval of the ICC from F = between / within: (F / f - 1) / (F / f - 1 + n0), never below 0."""
    if within == 0:
        return (1.0, 1.0) if between > 0 else (0.0, 1.0)
    low, high = (between / within / f - 1 for f in (f_high, f_low))
    return max(0.0, low / (low + n0)), max(0.0, high / (high + n0))

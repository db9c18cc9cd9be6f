"""What a budget can decide: the smallest effect found, the smallest margin inside which nothing is found, the runs needed.

In: the spread between runs (standard deviation of a run's paired effect, in the instrument's unit), the number of runs, of
claims in the experiment, and the margin. Out: effects and margins in the same unit. Exact for normal run effects: the
noncentral t distribution, and for "no change" an integral over the chi distribution of the sample's spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import optimize, stats

from loralab.infer.estimate import t_critical

#: below this many runs the lab prints no verdict about a recipe.
MIN_RUNS = 3
#: the study grammar allows no more replicates; a claim that needs more is called hopeless.
MAX_RUNS = 256


def power_beyond(
    effect: float, sd_runs: float, n_runs: int, m_claims: int, margin: float, alpha: float = 0.05, floor: float = 0.0
) -> float:
    """Return the probability that the interval lies wholly beyond ``margin`` on the side of ``effect``.

    Noncentral t; with a ``floor`` under the half width, the mean over the sample's spread: estimate - max(t s, floor) > margin.
    """
    standard_error = sd_runs / math.sqrt(n_runs)
    if floor == 0:
        return float(stats.nct.sf(t_critical(n_runs, 1 - alpha / m_claims), n_runs - 1, (abs(effect) - margin) / standard_error))
    half = np.maximum(t_critical(n_runs, 1 - alpha / m_claims) * _spread_grid(n_runs) * standard_error, floor)
    return float(np.mean(stats.norm.cdf((abs(effect) - margin - half) / standard_error)))


@cache
def _spread_grid(n_runs: int) -> np.ndarray:
    """Return equally likely ratios (4000,) of sample to true standard deviation for ``n_runs`` normal runs."""
    share = (np.arange(4000) + 0.5) / 4000
    return np.sqrt(stats.chi2.ppf(share, n_runs - 1) / (n_runs - 1))


def power_no_change(
    effect: float, sd_runs: float, n_runs: int, m_claims: int, margin: float, alpha: float = 0.05, floor: float = 0.0
) -> float:
    """Return the probability that the interval lies wholly inside the margin when the true effect is ``effect``.

    ``floor`` is the smallest half width that the interval may have: the estimate needs its own room beside it.
    """
    standard_error = sd_runs / math.sqrt(n_runs)
    room = margin - np.maximum(t_critical(n_runs, 1 - alpha / m_claims) * _spread_grid(n_runs) * standard_error, floor)
    inside = stats.norm.cdf((room - effect) / standard_error) - stats.norm.cdf((-room - effect) / standard_error)
    return float(np.mean(np.where(room > 0, inside, 0.0)))


def _check(sd_runs: float, m_claims: int, alpha: float, power: float) -> None:
    if not (sd_runs > 0 and m_claims >= 1 and 0 < alpha < power < 1):
        raise ValueError(f"need sd_runs > 0, m_claims >= 1, 0 < alpha < power < 1; got {sd_runs}, {m_claims}, {alpha}, {power}")


def decidable_effect(
    sd_runs: float, n_runs: int, m_claims: int, margin: float, alpha: float = 0.05, power: float = 0.8, floor: float = 0.0
) -> float:
    """Return the smallest effect that is decided beyond ``margin`` with probability ``power``; infinite below 3 runs.

    All in the instrument's unit. Exact for normal run effects; ``floor`` as in ``power_beyond``. Raises ValueError for the impossible.
    """
    _check(sd_runs, m_claims, alpha, power)
    if n_runs < MIN_RUNS:
        return math.inf
    unit = optimize.brentq(
        lambda effect: power_beyond(effect, 1.0, n_runs, m_claims, 0.0, alpha, floor / sd_runs) - power,
        0.0,
        _bracket(n_runs, m_claims, alpha) + floor / sd_runs,
    )
    return margin + float(unit) * sd_runs


def _bracket(n_runs: int, m_claims: int, alpha: float) -> float:
    """Return a standardised effect that is decided almost surely."""
    return (20 + 8 * t_critical(n_runs, 1 - alpha / m_claims)) / math.sqrt(n_runs)


def decidable_no_change(sd_runs: float, n_runs: int, m_claims: int, alpha: float = 0.05, power: float = 0.8, floor: float = 0.0) -> float:
    """Return the smallest margin inside which a true zero effect is called "no change" with ``power``; infinite below 3 runs."""
    _check(sd_runs, m_claims, alpha, power)
    if n_runs < MIN_RUNS:
        return math.inf
    unit = optimize.brentq(
        lambda margin: power_no_change(0.0, 1.0, n_runs, m_claims, margin, alpha, floor / sd_runs) - power,
        0.0,
        _bracket(n_runs, m_claims, alpha) + floor / sd_runs,
    )
    return float(unit) * sd_runs


def runs_needed(
    effect: float,
    sd_runs: float,
    m_claims: int,
    margin: float,
    alpha: float = 0.05,
    power: float = 0.8,
    at_least: int = MIN_RUNS,
    floor_at: Callable[[int], float] = lambda n_runs: 0.0,
) -> int | None:
    """Return the runs, in all, after which an effect of this size is decided with ``power``; None beyond 256 runs.

    An effect outside the margin is to be found beyond it, an effect inside it to be called "no change". ``floor_at`` says how wide an
    interval of so many runs is at least (the rule of three shrinks with the runs, an instrument's error with their root).
    """
    _check(sd_runs, m_claims, alpha, power)
    chance = power_beyond if abs(effect) > margin else power_no_change

    def enough(n_runs: int) -> bool:
        return chance(effect, sd_runs, n_runs, m_claims, margin, alpha, floor_at(n_runs)) >= power

    low = max(at_least, MIN_RUNS)
    if not enough(MAX_RUNS):
        return None
    high = MAX_RUNS
    while low < high:  # both powers rise with the number of runs
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low

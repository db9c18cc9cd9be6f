"""The rule played forward: how large a change must be to be found at each look, in many simulated studies.

In: how trainings and pictures scatter, how many of each, the levels of the looks, the smallest change that counts. Out: for every simulated
study the smallest change that it would have decided at each look. All chances follow from these by counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from loralab.infer.estimate import half_width_floor
from loralab.infer.looks import PLANNED, Looks, look_levels
from loralab.infer.moderated import LEAST_RUNS, Prior, prior_ratio

#: simulated studies; a chance of .8 then has a standard error of .9 points.
STUDIES = 2000
SEED = 20_261_128


@dataclass(frozen=True)
class Scatter:
    """How a contrast scatters: standard deviations between trainings and between the pictures of one, in the instrument's unit."""

    between: float
    within: float
    likeness: float
    class_span: float = 0.0  # the range of an instrument whose pictures read as one of a few values; else 0


@dataclass(frozen=True)
class Budget:
    """When one looks, how many pictures a training draws, and among how many claims the error rate is shared."""

    trainings: tuple[int, ...]
    seeds: int
    m_claims: int
    n_controls: int = 0
    alpha: float = 0.05
    looks: Looks = PLANNED
    prior: Prior = field(default_factory=Prior)


def simulate_estimates(scatter: Scatter, budget: Budget, n_studies: int = STUDIES) -> tuple[np.ndarray, np.ndarray]:
    """Return (estimates, half widths), both (contrasts, studies, looks), of studies in which nothing is there.

    The first contrast is the claim's, the others its controls': the same trainings against independent ones of the same scatter. Picture
    means and mean squares are drawn as normal theory has them; a later look has all trainings of the earlier ones.
    """
    rng, most = np.random.default_rng(SEED), max(budget.trainings)
    sd = np.hypot(scatter.between, scatter.within / np.sqrt(budget.seeds))
    means = sd * rng.standard_normal((1 + budget.n_controls, n_studies, most))
    inside = rng.chisquare(max(budget.seeds - 1, 1), (1 + budget.n_controls, n_studies, most))
    runs = np.concatenate([means[:1], means[:1] - means[1:]])
    squares = scatter.within**2 * np.concatenate([inside[:1], inside[:1] + inside[1:]]) / max(budget.seeds - 1, 1)
    found = [_look(runs[..., :n], squares[..., :n], n, scatter, budget) for n in budget.trainings]
    return np.stack([estimate for estimate, _ in found], axis=-1), np.stack([half for _, half in found], axis=-1)


def _look(runs: np.ndarray, squares: np.ndarray, n: int, scatter: Scatter, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Return (estimate, half width), (contrasts, studies), at one look of ``n`` trainings."""
    level = 1 - look_levels(budget.m_claims, budget.alpha, budget.looks)[budget.looks.index(n)]
    between, df = budget.seeds * runs.var(axis=-1, ddof=1), n - 1.0
    if n >= LEAST_RUNS and budget.seeds > 1:
        d = 1 / (1 / budget.prior.df + 1 / (n * (budget.seeds - 1)))
        within = prior_ratio(budget.seeds, scatter.likeness) * budget.prior.scale * squares.mean(axis=-1)
        between, df = np.maximum(between, (d * within + df * between) / (d + df)), d + df
    half = stats.t.ppf(0.5 + level / 2, df) * np.sqrt(between / (n * budget.seeds))
    if not scatter.class_span:
        return runs.mean(axis=-1), half
    floor = half_width_floor(
        n_runs=n, n_pairs=n * budget.seeds, level=level, few_valued=True, span=scatter.class_span, error=0.0,
        design=prior_ratio(budget.seeds, scatter.likeness) * budget.prior.scale,
    )  # fmt: skip
    return runs.mean(axis=-1), np.maximum(half, floor)


def needed_effects(scatter: Scatter, budget: Budget, margin: float) -> np.ndarray:
    """Return the smallest true change, (studies, looks), that each simulated study finds beyond ``margin``, its controls exceeded."""
    estimates, halves = simulate_estimates(scatter, budget)
    return np.asarray((np.array([margin, *[0.0] * budget.n_controls])[:, None, None] + halves - estimates).max(axis=0))


def needed_margins(scatter: Scatter, budget: Budget) -> np.ndarray:
    """Return the smallest margin, (studies, looks), inside which each simulated study holds a true change of none."""
    estimates, halves = simulate_estimates(scatter, replace(budget, n_controls=0))
    return np.asarray(np.abs(estimates[0]) + halves[0])


def by_look(decided: np.ndarray) -> tuple[float, ...]:
    """Return the share of studies that have decided by each look, from (studies, looks) truths."""
    return tuple(float(share) for share in np.maximum.accumulate(decided, axis=1).mean(axis=0))


def smallest(needed: np.ndarray, power: float) -> float:
    """Return the size with which a share ``power`` of the studies decide by the last look."""
    return float(np.quantile(needed.min(axis=1), power, method="higher"))


def trainings_up_to(n_runs: int, looks: Sequence[int] = PLANNED.trainings) -> tuple[int, ...]:
    """Return the planned looks that ``n_runs`` trainings reach, and ``n_runs`` itself where it is none."""
    reached = tuple(n for n in looks if n <= n_runs)
    return reached if reached and reached[-1] == n_runs else (*reached, n_runs)

"""Variances that borrow strength: few trainings tell little of their own spread, all contrasts of a study together tell much.

In: one value a pair with its training, for every contrast of a study. Out: each contrast's variance and degrees of freedom. As limma
moderates variances of genes (Smyth, Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 3, 2004), with the scatter
of pictures inside a training as the common yardstick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from loralab.infer.spread import mean_squares

#: with fewer contrasts than this a prior cannot be estimated, and a careful one is taken.
LEAST_CONTRASTS = 10
#: no prior counts for more than this: trainings of one study may share a surprise that the others do not show.
MOST_D0 = 12.0
FEW_D0 = 4.0
#: with fewer trainings than the first look has, nothing is borrowed: A/A studies gave 7 to 8 % false alarms at 4.
LEAST_RUNS = 8


@dataclass(frozen=True)
class Squares:
    """Mean squares of one contrast between and within trainings, and the prior ratio ``pi`` between the two."""

    between: float
    within: float
    n_runs: int
    n_pairs: int
    pi: float

    @property
    def df_within(self) -> int:
        """Degrees of freedom inside the trainings."""
        return self.n_pairs - self.n_runs


@dataclass(frozen=True)
class Prior:
    """How far between-training squares lie above pi times those within (``scale``, at least 1), and how much that counts (``df``)."""

    scale: float = 1.0
    df: float = FEW_D0


@dataclass(frozen=True)
class Moderated:
    """The variance of one pair for the purpose of a mean over all (s2 / pairs is the mean's variance), and its degrees of freedom."""

    s2: float
    df: float


def prior_ratio(n_pictures: float, likeness: float) -> float:
    """Return pi = 1 + n rho / (1 - rho): how much the mean square between trainings exceeds that within at this likeness."""
    return 1 + n_pictures * likeness / (1 - likeness)


def squares_of(z: np.ndarray, runs: np.ndarray, likeness: float) -> Squares:
    """Return the mean squares of ``z`` (pairs,) by ``runs`` (pairs,); with one picture a training there is nothing within."""
    n_runs = len(np.unique(runs))
    if len(z) <= n_runs:
        return Squares(float(np.var(z, ddof=1)), 0.0, n_runs, len(z), 1.0)
    between, within, _, n0 = mean_squares(z, runs)
    return Squares(between, within, n_runs, len(z), prior_ratio(n0, likeness))


def fit_prior(contrasts: Sequence[Squares]) -> Prior:
    """Return the prior that the contrasts of a study suggest together.

    log(MSB / (pi MSW)) of each is taken as the logarithm of a scaled F; scale and d0 come from its mean and variance over contrasts as in
    Smyth (2004), section 6.2: the variance beyond that of the two chi-squares is trigamma(d0 / 2). The scale is at least 1, d0 at most 12.
    Contrasts without any scatter tell nothing; fewer than 10 give scale 1 and d0 = 4.
    """
    told = [c for c in contrasts if c.between > 0 and c.within > 0 and c.df_within > 0 and c.n_runs >= LEAST_RUNS]
    if len(told) < LEAST_CONTRASTS:
        return Prior()
    half_between = np.array([(c.n_runs - 1) / 2 for c in told])
    half_within = np.array([c.df_within / 2 for c in told])
    ratios = np.log([c.between / (c.pi * c.within) for c in told])
    centred = ratios - _log_bias(half_between) + _log_bias(half_within)
    noise = special.polygamma(1, half_between) + special.polygamma(1, half_within)
    beyond = float(np.var(centred, ddof=1) - noise.mean())
    half_d0 = trigamma_inverse(beyond) if beyond > 0 else math.inf
    scale = math.exp(float(centred.mean()) + (0.0 if math.isinf(half_d0) else float(_log_bias(np.array(half_d0)))))
    return Prior(max(1.0, scale), min(MOST_D0, 2 * half_d0))


def _log_bias(half_df: np.ndarray) -> np.ndarray:
    """Return the mean of log(chi-square / df): digamma(df / 2) - log(df / 2)."""
    return np.asarray(special.digamma(half_df) - np.log(half_df))


def trigamma_inverse(value: float) -> float:
    """Return x > 0 with trigamma(x) = ``value`` > 0."""
    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    return float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - value, 1e-4, 1e7, xtol=1e-12, rtol=1e-12))


def smoothed_variance(z: np.ndarray, ends: tuple[float, float], n_independent: float, pseudo: float) -> float:
    """Return the variance of ``z`` (pairs,), values of few kinds, with ``pseudo`` further pairs, half at each end of what they can be.

    For a share this is p (1 - p) at Wilson's p (1927; Agresti and Coull 1998: pseudo = z^2 of the level), for a difference of two what
    Agresti and Caffo (2000) add to each. A rare kind that a study happens not to have seen would else make its interval too narrow.
    ``n_independent`` is the number of pairs over their design effect.
    """
    own, added = n_independent / (n_independent + pseudo), pseudo / (n_independent + pseudo)
    half, middle = (ends[1] - ends[0]) / 2, (ends[0] + ends[1]) / 2
    return float(own * z.var() + added * half**2 + own * added * (z.mean() - middle) ** 2)


def design_effect(squares: Squares, prior: Prior) -> float:
    """Return how much more the mean of pairs scatters than that of as many independent ones, as the study as a whole shows."""
    return prior.scale * squares.pi


def moderate(squares: Squares, prior: Prior, least_within: float = 0.0) -> Moderated:
    """Return the variance of a contrast and its degrees of freedom; ``least_within`` is what pictures of a training scatter at least.

    d = 1 / (1/d0 + 1/df_within); s2 = max(MSB, (d scale pi MSW + (R - 1) MSB) / (d + R - 1)); nu = d + R - 1. Below 8 trainings,
    or with one picture a training, it is MSB with R - 1: Student's interval over trainings.
    """
    own = squares.n_runs - 1
    if squares.n_runs < LEAST_RUNS or squares.df_within <= 0:
        return Moderated(squares.between, own)
    d = 1 / (1 / prior.df + 1 / squares.df_within)
    within = max(squares.within, least_within)
    borrowed = (d * design_effect(squares, prior) * within + own * squares.between) / (d + own)
    return Moderated(max(squares.between, borrowed), d + own)

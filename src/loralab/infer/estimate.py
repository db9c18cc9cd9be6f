"""From one effect a run to an estimate with its interval, a sign-flip p beside it, and the finding.

In: the effects of R training runs. Out: a ``Contrast``; the finding follows from its interval and a margin alone, so a
figure drawn from the contrast and the word beside it cannot disagree. Recipe-level: the unit is the training run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from loralab.infer.comparison import Sample
from loralab.infer.moderated import Prior, Squares, design_effect, moderate, smoothed_variance
from loralab.infer.verdict import Contrast

#: below this many trainings the lab prints no verdict about a recipe.
MIN_RUNS = 3
#: all sign patterns are counted up to 2^16 of them (16 runs); beyond that this many are drawn from a fixed stream.
MAX_SIGN_PATTERNS = 2**16
DRAWN_SIGN_PATTERNS = 2**14
#: how alike the pictures of one run are taken to be where the runs agree so well that their likeness cannot be estimated.
#: Measured at 0 to .12 on petri's shares (docs/results/variance.md).
ASSUMED_ICC = 0.1


@cache
def t_critical(n_runs: int, level: float) -> float:
    """Return the two-sided Student t quantile for ``n_runs`` runs at ``level``; ``n_runs`` must be at least 2."""
    return float(stats.t.ppf(0.5 + level / 2, n_runs - 1))


@cache
def _signs(n_runs: int) -> np.ndarray:
    """Return sign patterns (P, n_runs), the first all plus: every pattern with a plus in front, or draws from a fixed stream."""
    if 2**n_runs <= MAX_SIGN_PATTERNS:
        # the mirror image of a pattern has the same absolute mean, so half of the patterns tell everything
        codes = np.arange(2 ** (n_runs - 1))[:, None] >> np.arange(n_runs - 1)[None, :]
        return np.hstack([np.ones((len(codes), 1)), 1.0 - 2 * (codes & 1)])
    drawn = np.random.default_rng(n_runs).integers(0, 2, (DRAWN_SIGN_PATTERNS - 1, n_runs), dtype=np.int8)
    return np.vstack([np.ones((1, n_runs)), 1.0 - 2 * drawn])


def sign_flip_p(effects: Sequence[float] | np.ndarray) -> float:
    """Return the two-sided sign-flip (randomisation) p of mean 0; exact up to 16 runs, else from 16,384 fixed patterns.

    Source: Fisher, The Design of Experiments (1935), section 21. The null distribution depends on the absolute effects
    alone; they are sorted, so the order of the runs changes nothing even where patterns are drawn.
    """
    absolute = np.sort(np.abs(np.asarray(effects, dtype=float)))
    observed = abs(float(np.sum(effects)))
    sums = np.abs(_signs(len(absolute)) @ absolute)
    return float(np.mean(sums >= observed - 1e-9 * max(1e-300, float(absolute.sum()))))


def half_width_floor(
    *, n_runs: int, n_pairs: int, level: float, few_valued: bool, span: float, error: float, design: float = 1.0
) -> float:  # fmt: skip
    """Return the smallest half width that an interval may have, in the instrument's unit: runs that agree exactly are not certainty.

    Few-valued readings (a circle or none): the rule of three at this level. If n independent pairs all agree, the share q
    of pairs that differ still satisfies (1 - q)^n >= 1 - level, so the mean may be off by q times the range ``span``
    (Clopper and Pearson 1934; Hanley and Lippman-Hand 1983). Pairs of one run are alike, so n is the number of pairs over
    the design effect 1 + (pairs a run - 1) * ASSUMED_ICC (Kish 1965), or over ``design``, the one that the study as a whole
    shows, where that is more: eight trainings that differ much may all have missed what every tenth learns. Other readings: one
    standard error of the instrument's ``error`` on one picture over the pairs; where the card says 0, one level of an 8-bit
    picture (span / 255).
    """
    if few_valued:
        n_independent = n_pairs / max(1 + (n_pairs / n_runs - 1) * ASSUMED_ICC, design)
        return span * (1 - (1 - level) ** (1 / n_independent))
    return max(error * math.sqrt(2), span / 255) / math.sqrt(n_pairs)


def estimate_contrast(effects: np.ndarray, *, n_images: int, level: float, floor: float) -> Contrast:
    """Return the mean of the run effects with its Student t interval over runs, never narrower than ``floor`` on either side.

    Raises ValueError with fewer than 2 runs: there is no spread between runs to speak of.
    """
    n_runs = len(effects)
    if n_runs < 2:
        raise ValueError(f"an interval over trainings needs at least 2 trainings, not {n_runs}")
    effect = float(np.mean(effects))
    half = max(t_critical(n_runs, level) * float(np.std(effects, ddof=1)) / math.sqrt(n_runs), floor)
    return Contrast(
        effect=effect,
        low=effect - half,
        high=effect + half,
        level=level,
        n_runs=n_runs,
        n_images=n_images,
        p_sign_flip=sign_flip_p(effects),
        run_effects=tuple(float(value) for value in effects),
    )


@dataclass(frozen=True)
class Levels:
    """The levels of a contrast's two intervals: among the claims of its experiment, and among all of the study."""

    claim: float
    study: float


def within(value: float, most: float) -> float:
    """Return ``value``, no further from 0 than ``most``."""
    return min(most, max(-most, value))


def student_half_width(df: float, level: float) -> float:
    """Return the two-sided Student t quantile at ``level`` for ``df`` degrees of freedom (they need not be whole)."""
    return float(stats.t.ppf(0.5 + level / 2, df))


def moderated_contrast(
    sample: Sample,
    squares: Squares,
    prior: Prior,
    levels: Levels,
    *,
    ends: tuple[float, float],
    floor: Callable[[float], float],
    bias: float,
) -> Contrast:
    """Return the estimate of a sample with its intervals: estimate +- (max(t_nu se, floor) + |bias|), se^2 = s2 / pairs + v.

    s2 and nu are moderated by the study's ``prior``; v is what is not known of the base's mean; readings between ``ends`` of few kinds
    scatter at least as their smoothed shares do; ``floor`` gives the smallest half width at a level; ``bias`` is what of the
    instrument's need not cancel. Nothing lies beyond what the comparison of two such readings can be: a difference of shares is at most
    1. Raises ValueError with fewer than 2 trainings.
    """
    if sample.n_runs < 2:
        raise ValueError(f"an interval over trainings needs at least 2 of them, not {sample.n_runs}")
    least = 0.0
    if sample.few_valued:
        pseudo = float(stats.norm.isf((1 - levels.claim) / 2) ** 2)
        least = smoothed_variance(sample.z, sample.ends(*ends), sample.n_pairs / design_effect(squares, prior), pseudo)
    found = moderate(squares, prior, least)
    error = math.sqrt(found.s2 / sample.n_pairs + sample.v)
    most = sample.comparison.reach * (ends[1] - ends[0])
    effect = within(float(sample.z.mean()), most)
    half, sure = (max(student_half_width(found.df, level) * error, floor(level)) + abs(bias) for level in (levels.claim, levels.study))
    return Contrast(
        effect=effect, low=within(effect - half, most), high=within(effect + half, most), level=levels.claim, n_runs=sample.n_runs,
        n_images=sample.n_pairs, p_sign_flip=sign_flip_p(sample.run_effects),
        run_effects=tuple(float(value) for value in sample.run_effects), error=error, df=found.df, bias=abs(bias),
        known_error=math.sqrt(sample.v), sure_low=within(effect - sure, most), sure_high=within(effect + sure, most),
        sure_level=levels.study,
    )  # fmt: skip

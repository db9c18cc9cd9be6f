"""The base's mean is known better than a study's own pairs tell: extra base pictures of each prompt, drawn once and kept.

In: readings of LoRAs and of the base at the same seeds, and what is known of the base. Out: one value a pair whose mean is the estimate,
with less scatter than the plain difference, and the variance that what is known adds. A regression estimator (Cochran, Sampling
Techniques, 1977, chapter 7) whose slope is shrunk, and drawn towards the plain difference where little is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: less than so many extra pictures are not worth a slope of their own.
LEAST_KNOWN = 24


@dataclass(frozen=True)
class BaseKnown:
    """Mean and variance of an instrument's readings on ``n`` base pictures at one prompt that no contrast uses."""

    mean: float
    variance: float
    n: int

    @property
    def error(self) -> float:
        """The variance of the mean; infinite where there is no picture."""
        return self.variance / self.n if self.n else math.inf


def known_from(values: np.ndarray) -> BaseKnown | None:
    """Return what ``values`` (n,) tell of the base; None where they are too few to be worth it."""
    return BaseKnown(float(values.mean()), float(values.var(ddof=1)), len(values)) if len(values) >= LEAST_KNOWN else None


def pooled(parts: Sequence[BaseKnown | None]) -> BaseKnown | None:
    """Return what several disjoint sets of pictures of the same cell tell together; None where none tells anything."""
    told = [part for part in parts if part is not None and part.n > 0]
    n = sum(part.n for part in told)
    if n < 2:
        return told[0] if told else None
    mean = sum(part.n * part.mean for part in told) / n
    squares = sum((part.n - 1) * part.variance + part.n * (part.mean - mean) ** 2 for part in told)
    return BaseKnown(mean, squares / (n - 1), n)


@dataclass(frozen=True)
class Adjusted:
    """One value a pair, z = y - theta x - offset, whose mean is the estimate; ``v`` is the variance that the known mean adds."""

    z: np.ndarray  # (pairs,)
    theta: float
    v: float
    offset: float = 0.0


def slope(y: np.ndarray, x: np.ndarray) -> float:
    """Return k cov(y, x) / var(x), shrunk by k = max(0, 1 - (1 - r^2) / (r^2 (n - 2))); 0 where either does not vary.

    The shrinkage is that of James and Stein for a slope: r^2 by its expectation under no relation (Copas 1983).
    """
    n = len(y)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    (yy, yx), (_, xx) = np.cov(y, x)
    r2 = yx**2 / (yy * xx)
    if r2 <= 0:
        return 0.0
    return float(max(0.0, 1 - (1 - r2) / (r2 * (n - 2))) * yx / xx)


def adjust(y: np.ndarray, x: np.ndarray, mean: float, error: float, kind: Literal["against", "between"]) -> Adjusted:
    """Return the adjusted values of pairs ``y`` and ``x`` (n,), where the mean of ``x`` is known to be ``mean`` with variance ``error``.

    *against* estimates mean(y) - mean(x): z = y - theta x - (1 - theta) mean, v = (1 - theta)^2 error, theta clipped to [0, 1].
    *between* estimates mean(y), a difference of arms, with x as a covariate: z = y - theta (x - mean), v = theta^2 error.
    What is known is itself uncertain by ``error``; the theta that minimises the whole variance lies w = error / (error + var(x) / n) of
    the way from the slope to 1 (to 0 between arms). An infinite error gives the plain difference, none the slope itself.
    """
    theta, own = slope(y, x), float(np.var(x, ddof=1)) / len(x) if len(x) > 1 else 0.0
    w = 1.0 if math.isinf(error) else error / (error + own) if error + own > 0 else 0.0
    if kind == "between":
        theta *= 1 - w
        return Adjusted(y - theta * (x - mean), theta, theta**2 * error, -theta * mean) if theta else Adjusted(y, 0.0, 0.0)
    theta = min(1.0, max(0.0, theta * (1 - w) + w))
    known = (1 - theta) * mean if theta < 1 else 0.0
    return Adjusted(y - theta * x - known, theta, (1 - theta) ** 2 * error if theta < 1 else 0.0, known)

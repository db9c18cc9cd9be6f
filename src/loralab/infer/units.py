"""A mean, a share or a ratio over units (image seeds, or trainings) with its 95 % interval; numbers in, an ``Estimate`` out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from loralab.infer.estimate import estimate_contrast, t_critical

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval over ``n`` units: image seeds for one file, files for a recipe."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        """Return the fields."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def estimate_mean(units: np.ndarray) -> Estimate:
    """Return the mean of ``units`` (n,) with its Student t interval (95 %); raises ValueError with fewer than 2."""
    n = len(units)
    if n < 2:
        raise ValueError(f"an interval needs at least 2 units, not {n}")
    found = estimate_contrast(units, n_images=n, level=LEVEL, floor=0.0)
    return Estimate(found.effect, found.low, found.high, n)


def estimate_share(units: np.ndarray) -> Estimate:
    """Return a mean share with Wilson's score interval (1927, 95 %) over ``units`` (n,): never of zero width, never outside 0 to 1.

    A unit is an image seed or a file, not a picture: pictures of one seed at several prompts are alike.
    """
    n, z = len(units), float(stats.norm.isf((1 - LEVEL) / 2))
    if n < 2:
        raise ValueError(f"an interval needs at least 2 units, not {n}")
    share = float(units.mean())
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def estimate_ratio(one: np.ndarray, other: np.ndarray) -> Estimate:
    """Return mean(one) / mean(other) over paired units with its 95 % interval: linearised (the delta method), Student's t over units.

    Raises ValueError with fewer than 2 units or a denominator of 0.
    """
    n = min(len(one), len(other))
    one, other = one[:n], other[:n]
    if n < 2 or not other.mean():
        raise ValueError("a ratio needs at least 2 units and something to divide by")
    ratio = float(one.mean() / other.mean())
    spread = float(np.std(one - ratio * other, ddof=1)) / abs(float(other.mean()))
    half = t_critical(n, LEVEL) * spread / math.sqrt(n)
    return Estimate(ratio, ratio - half, ratio + half, n)

"""Diversity: in go pictures of a base and of its world, out comes the ratio of their mean pairwise distances, with an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from skimage.color import rgb2lab

COARSE_PX = 16
RESAMPLES = 400


@dataclass(frozen=True)
class Ratio:
    """A ratio of two mean distances with its 95 % interval."""

    value: float
    interval: tuple[float, float]
    n: int  # pictures on either side


def layout_features(pictures: np.ndarray) -> np.ndarray:
    """Return colours by place, CIELAB at 16 px, (N, 768), so that a distance is a Euclidean one in deltaE76."""
    lab = np.stack([rgb2lab(picture / 255.0) for picture in pictures])
    cell = pictures.shape[1] // COARSE_PX
    return lab.reshape(len(lab), COARSE_PX, cell, COARSE_PX, cell, 3).mean(axis=(2, 4)).reshape(len(lab), -1)


def mean_distance(features: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean distance over all pairs of different rows; `weights` say how often each row counts."""
    weights = np.ones(len(features)) if weights is None else weights
    return weighted_mean_distance(cdist(features, features), weights)


def weighted_mean_distance(distances: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean of a distance matrix over pairs, row i counted weights[i] times.

    A row drawn twice is at distance 0 from itself: those pairs are left out, or a resampled set would look less diverse than it is.
    """
    pairs = weights.sum() ** 2 - (weights**2).sum()
    return float(weights @ distances @ weights / pairs)


def compare_diversity(
    own: np.ndarray, world: np.ndarray, features: Callable[[np.ndarray], np.ndarray] = layout_features, seed: int = 0
) -> Ratio:
    """Return mean pairwise distance of `own` over that of `world`, both (N, H, W, 3) uint8; both sides are resampled by picture."""
    rng = np.random.default_rng(seed)
    matrices = [cdist(rows, rows) for rows in (features(own), features(world))]
    values = []
    for _ in range(RESAMPLES):
        counts = [np.bincount(rng.integers(len(m), size=len(m)), minlength=len(m)).astype(float) for m in matrices]
        values.append(weighted_mean_distance(matrices[0], counts[0]) / weighted_mean_distance(matrices[1], counts[1]))
    plain = [weighted_mean_distance(m, np.ones(len(m))) for m in matrices]
    low, high = np.quantile(values, [0.025, 0.975])
    return Ratio(plain[0] / plain[1], (float(low), float(high)), len(own))

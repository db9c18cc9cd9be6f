"""Is it sharp, blurry, or sharp before a blurred background: in go pictures of shapes, out comes a reader of edge widths.

How steep the steepest edges are at three scales is read off the inside and off the border. A quadratic discriminant over that is
fitted to the world's own pictures as the autoencoder gives them back. It needs no sprites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab

from loralab.petri.draw import make_picture
from organism.world import SHAPES_ONLY, sample_truth

RoundTrip = Callable[[np.ndarray], np.ndarray]
CLASSES = ("sharp", "blurry", "background")
TRUTHS = {"none": "sharp", "whole": "blurry", "background": "background"}
BORDER_PX = 5  # the largest object leaves 4 px
SCALES_PX = (0.7, 1.4, 2.8)
FIRST_SEED = 30_000_000  # never in a training pool
SINGLE = replace(
    SHAPES_ONLY, share_pairs=0.0, share_grids=0.0, share_blurry=0.33, share_depth_of_field=0.33, share_dark=0.0, share_bright=0.0
)


def measure_sharpness(picture: np.ndarray) -> np.ndarray:
    """Return (8,): for the inside and for the border, contrast and the log ratios of the steepest edges at neighbouring scales.

    An edge of width s loses nothing of its steepness at scales below s; a sharp one loses half with each doubling.
    """
    lab = rgb2lab(picture / 255.0)
    inside = np.zeros(lab.shape[:2], dtype=bool)
    inside[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    steep = [steepness(lab, scale) for scale in SCALES_PX]
    features = []
    for part in (inside, ~inside):
        tops = [np.quantile(values[part], 0.97) + 0.5 for values in steep]  # half a unit of deltaE per px is the decoder's own noise
        features += [np.log(tops[0] / tops[1]), np.log(tops[1] / tops[2]), np.log(tops[0]), np.log(lab[part].std(axis=0).sum() + 1)]
    return np.array(features, dtype=np.float32)


def steepness(lab: np.ndarray, scale_px: float) -> np.ndarray:
    """Return the length of the colour gradient in deltaE a px at this scale, (H, W)."""
    sigma = (scale_px, scale_px, 0)
    down = ndimage.gaussian_filter(lab, sigma, order=(1, 0, 0), mode="nearest")
    right = ndimage.gaussian_filter(lab, sigma, order=(0, 1, 0), mode="nearest")
    return np.sqrt((down**2 + right**2).sum(axis=-1))


def with_products(features: np.ndarray) -> np.ndarray:
    """Return features (N, 8) with their squares and products, (N, 44): no plane tells a plain border from a sharp one."""
    rows, columns = np.triu_indices(features.shape[1])
    return np.concatenate([features, features[:, rows] * features[:, columns]], axis=1)


def make_focus_set(n: int, first_seed: int, seen_through: RoundTrip) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, 8) and class numbers (N,) of n pictures of the world's shapes, as an autoencoder gives them back."""
    truths = [sample_truth(seed, SINGLE) for seed in range(first_seed, first_seed + n)]
    seen = seen_through(np.stack([make_picture(truth) for truth in truths]))
    return np.stack([measure_sharpness(picture) for picture in seen]), np.array([CLASSES.index(TRUTHS[truth.blur]) for truth in truths])


@dataclass(frozen=True)
class FocusReader:
    """A quadratic discriminant over edge widths."""

    mean: np.ndarray  # (8,)
    deviation: np.ndarray  # (8,)
    axes: np.ndarray  # (44, 3)
    offsets: np.ndarray  # (3,)

    def classify(self, features: np.ndarray) -> np.ndarray:
        """Return class numbers (N,) of features (N, 8)."""
        return np.argmax(with_products((features - self.mean) / self.deviation) @ self.axes + self.offsets, axis=1)

    def __call__(self, picture: np.ndarray) -> str:
        """Return "sharp", "blurry" or "background" (a sharp subject before a blurred background)."""
        return CLASSES[int(self.classify(measure_sharpness(picture)[None])[0])]


def fit_discriminant(features: np.ndarray, labels: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Return axes (F, classes) and offsets (classes,) of a linear discriminant of features (N, F) with labels (N,) from 0.

    The pooled covariance is shrunk towards a multiple of one. The most likely class is the argmax of features @ axes + offsets.
    """
    means = np.stack([features[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    residuals = features - means[labels]
    covariance = residuals.T @ residuals / len(features)
    scale = np.trace(covariance) / len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(covariance))
    axes = np.linalg.solve(covariance, means.T)
    return axes, -0.5 * np.einsum("cd,dc->c", means, axes)


def fit_focus_reader(seen_through: RoundTrip, n: int = 1200) -> FocusReader:
    """Return the reader fitted to n of the world's own pictures behind the autoencoder (a quarter of a minute).

    It is calibrated where it is used: an edge that the autoencoder widens must not read as blur.
    """
    features, labels = make_focus_set(n, FIRST_SEED, seen_through)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    return FocusReader(mean, deviation, *fit_discriminant(with_products((features - mean) / deviation), labels, shrinkage=0.01))

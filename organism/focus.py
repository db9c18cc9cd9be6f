"""Is it sharp, blurry, or sharp before a blurred background: in go the world's own pictures, out come readers that are fitted to them.

Two of them. For the fidelity table a quadratic discriminant over edge widths, fitted to shapes alone: independent of everything that is
trained. For studies the instrument that ships (``loralab.petri.focus``), a logistic regression over edge widths and what the encoder sees,
fitted to concepts and shapes. Both see the pictures as the autoencoder gives them back.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from loralab.bases import load_base
from loralab.bases.round_trip import round_trip_of
from loralab.petri.draw import make_picture
from loralab.petri.encoder import encoder_folder, load_encoder, pool_pictures
from loralab.petri.focus import FocusWeights, measure_sharpness, save_focus, with_products
from loralab.petri.sprites import load_sprites
from organism.world import SHAPES_ONLY, SMALL, sample_truth

RoundTrip = Callable[[np.ndarray], np.ndarray]
CLASSES = ("sharp", "blurry", "background")
TRUTHS = {"none": "sharp", "whole": "blurry", "background": "background"}
FIRST_SEED = 30_000_000  # never in a training pool
INSTRUMENT_SEED, INSTRUMENT_PICTURES = 31_000_000, 4000
RIDGE = 3e-4  # of the weights' squares; up to ten times as much it moves right answers by 2 %
SINGLE = replace(
    SHAPES_ONLY, share_pairs=0.0, share_grids=0.0, share_blurry=0.33, share_depth_of_field=0.33, share_dark=0.0, share_bright=0.0
)


def make_focus_set(n: int, first_seed: int, seen_through: RoundTrip) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, 8) and class numbers (N,) of n pictures of the world's shapes, as an autoencoder gives them back."""
    truths = [sample_truth(seed, SINGLE) for seed in range(first_seed, first_seed + n)]
    seen = seen_through(np.stack([make_picture(truth) for truth in truths]))
    return np.stack([measure_sharpness(picture) for picture in seen]), np.array([CLASSES.index(TRUTHS[truth.blur]) for truth in truths])


#: single things, a third of them blurred, a third before a blurred background
FOCUSED = replace(SMALL, share_pairs=0.0, share_grids=0.0, share_blurry=0.33, share_depth_of_field=0.33, share_dark=0.03, share_bright=0.03)


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


# --- the instrument that ships --------------------------------------------------------------------------------------------


def fit_focus_weights(sharpness: np.ndarray, tower: np.ndarray, labels: np.ndarray) -> FocusWeights:
    """Return the logistic regression of labels (N,) on sharpness (N, 8) with its products and what the image tower saw (N, 192)."""
    mean, deviation = sharpness.mean(axis=0), sharpness.std(axis=0)
    features = np.concatenate([with_products((sharpness - mean) / deviation), tower], axis=1)
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    given = np.c_[(features - centre) / spread, np.ones(len(features))]
    right = np.eye(labels.max() + 1)[labels]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        axes = flat.reshape(given.shape[1], -1)
        likely = log_softmax(given @ axes, axis=1)
        kept = np.r_[axes[:-1], np.zeros((1, axes.shape[1]))]
        slope = given.T @ (np.exp(likely) - right) / len(given) + 2 * RIDGE * kept
        return float(-(likely * right).sum() / len(given) + RIDGE * (kept**2).sum()), slope.ravel()

    found = minimize(loss, np.zeros(given.shape[1] * right.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 400})
    axes = found.x.reshape(given.shape[1], -1)
    scaled = axes[:-1] / spread[:, None]
    return FocusWeights(mean, deviation, scaled, axes[-1] - centre @ scaled)


def run_focus(args: argparse.Namespace) -> None:
    """Fit the instrument of sharp, blurry and depth of field to the world's own pictures behind petri's autoencoder, and write it."""
    sprites, encoder = load_sprites(encoder_folder() / "sprites.npz"), load_encoder()
    truths = [sample_truth(seed, FOCUSED) for seed in range(INSTRUMENT_SEED, INSTRUMENT_SEED + args.pictures)]
    seen = round_trip_of(load_base("petri"))(np.stack([make_picture(truth, sprites) for truth in truths]))
    labels = np.array([CLASSES.index(TRUTHS[truth.blur]) for truth in truths])
    weights = fit_focus_weights(np.stack([measure_sharpness(picture) for picture in seen]), pool_pictures(encoder, seen), labels)
    save_focus(weights, args.out)
    print(f"{args.pictures} pictures, {np.bincount(labels).tolist()} of {', '.join(CLASSES)}; now `python -m organism cards`")

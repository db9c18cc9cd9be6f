"""Which concept is it: in go pictures of the world, out comes a classifier of outlines that has seen no drawn picture.

Histograms of oriented gradients (Dalal and Triggs 2005) and linear discriminant analysis: closed form, colour-blind, and
nothing like the pipeline. It needs the sprites, so it is made at build time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.feature import hog

from loralab.petri.draw import make_picture
from loralab.petri.sprites import Sprites
from loralab.petri.words import CONCEPTS
from loralab.petri.world import SMALL, sample_truth

SINGLE = replace(
    SMALL, share_shapes=0.0, share_pairs=0.0, share_grids=0.0, share_gradient=0.0, share_checkered=0.0,
    share_textured=0.0, share_blurry=0.0, share_depth_of_field=0.0, share_dark=0.0, share_bright=0.0,
)  # fmt: skip
FIRST_SEED = 20_000_000  # never in a training pool


def measure_gradients(picture: np.ndarray) -> np.ndarray:
    """Return the histogram of oriented gradients of a uint8 picture, (1764,)."""
    return hog(picture, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=-1).astype(np.float32)


def make_labelled(sprites: Sprites, n: int, first_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, 1764) and concept numbers (N,) of single objects, softened as the autoencoder softens them."""
    nouns = tuple(CONCEPTS)
    features, labels = [], []
    for seed in range(first_seed, first_seed + n):
        truth = sample_truth(seed, SINGLE)
        softness = 0.5 + 0.6 * (seed % 3) / 2
        picture = gaussian_filter(make_picture(truth, sprites), (softness, softness, 0))
        features.append(measure_gradients(picture))
        labels.append(nouns.index(truth.things[0].noun))
    return np.stack(features), np.array(labels)


@dataclass(frozen=True)
class ConceptReader:
    """A linear discriminant over gradients."""

    axes: np.ndarray  # (1764, n concepts)
    offsets: np.ndarray  # (n concepts,)

    def __call__(self, picture: np.ndarray) -> str:
        """Return the most likely concept's name."""
        return tuple(CONCEPTS)[int(np.argmax(measure_gradients(picture) @ self.axes + self.offsets))]


def fit_reader(features: np.ndarray, labels: np.ndarray, shrinkage: float = 0.05) -> ConceptReader:
    """Return the discriminant of labelled features, with the pooled covariance shrunk towards a multiple of one."""
    means = np.stack([features[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    residuals = features - means[labels]
    covariance = residuals.T @ residuals / len(features)
    scale = np.trace(covariance) / len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(covariance))
    axes = np.linalg.solve(covariance, means.T)
    return ConceptReader(axes, -0.5 * np.einsum("cd,dc->c", means, axes))


def load_reader(sprites: Sprites, path: Path, n: int = 6000) -> ConceptReader:
    """Return the reader that is kept in an `.npz` file, made first where there is none (a minute)."""
    if not path.exists():
        made = fit_reader(*make_labelled(sprites, n, FIRST_SEED))
        np.savez(path, axes=made.axes, offsets=made.offsets)
    with np.load(path) as packed:
        return ConceptReader(packed["axes"], packed["offsets"])


def measure_accuracy(reader: ConceptReader, sprites: Sprites, n: int = 600) -> float:
    """Return the share of the world's own pictures, of other seeds, whose concept is read right."""
    features, labels = make_labelled(sprites, n, FIRST_SEED + 1_000_000)
    return float((np.argmax(features @ reader.axes + reader.offsets, axis=1) == labels).mean())

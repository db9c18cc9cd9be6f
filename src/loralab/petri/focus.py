"""Is a picture of petri's world sharp, blurry, or sharp before a blurred background: pictures in, the shares of the three out.

What petri's image-text encoder sees, and how wide the edges are inside and at the border at three scales. The encoder's words for blur
do not suffice: it was trained to overlook a little of it, and the vector that fits words has lost it. Weights of a logistic regression
over both ship beside the encoder's; `organism.focus` fits them to the world's own pictures behind petri's autoencoder, so that an edge
which the autoencoder widens does not read as blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.special import softmax
from skimage.color import rgb2lab

from loralab.petri.concept_names import FOCUS_NAMES
from loralab.petri.encoder import Encoder, at_own_size, encoder_folder, pool_pictures

#: what a picture may be, in the order of the weights
FOCUS = FOCUS_NAMES
WEIGHTS_NAME = "focus.npz"
BORDER_PX = 5  # the largest object leaves 4 px
SCALES_PX = (0.7, 1.4, 2.8)


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
    return np.asarray(np.sqrt((down**2 + right**2).sum(axis=-1)))


def with_products(features: np.ndarray) -> np.ndarray:
    """Return features (N, 8) with their squares and products, (N, 44): no plane tells a plain border from a sharp one."""
    rows, columns = np.triu_indices(features.shape[1])
    return np.concatenate([features, features[:, rows] * features[:, columns]], axis=1)


@dataclass(frozen=True)
class FocusWeights:
    """A logistic regression over standardised sharpness with its products, then what the encoder's image tower saw."""

    mean: np.ndarray  # (8,)
    deviation: np.ndarray  # (8,)
    axes: np.ndarray  # (44 + 192, 3)
    offsets: np.ndarray  # (3,)

    def shares(self, sharpness: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return the shares (N, 3) of FOCUS from sharpness (N, 8) and what the image tower saw (N, 192)."""
        features = np.concatenate([with_products((sharpness - self.mean) / self.deviation), seen], axis=1)
        return np.asarray(softmax(features @ self.axes + self.offsets, axis=1))


def save_focus(weights: FocusWeights, folder: Path) -> None:
    """Write the weights in single precision."""
    with (folder / WEIGHTS_NAME).open("wb") as file:
        mean, deviation, axes, offsets = (
            np.asarray(part, dtype=np.float32) for part in (weights.mean, weights.deviation, weights.axes, weights.offsets)
        )
        np.savez(file, mean=mean, deviation=deviation, axes=axes, offsets=offsets)


@cache
def load_focus(folder: Path | None = None) -> FocusWeights:
    """Return the weights of a folder (default: those that ship)."""
    with np.load((folder or encoder_folder()) / WEIGHTS_NAME, allow_pickle=False) as told:
        return FocusWeights(**{name: told[name].astype(np.float64) for name in ("mean", "deviation", "axes", "offsets")})


def read_focus(encoder: Encoder, images: np.ndarray, weights: FocusWeights | None = None) -> np.ndarray:
    """Return the shares (N, 3) of FOCUS of pictures (N, 64, 64, 3) uint8."""
    sharpness = np.stack([measure_sharpness(image) for image in images])
    return (weights or load_focus()).shares(sharpness, pool_pictures(encoder, images))


@dataclass(frozen=True)
class FocusShare:
    """From a picture (H, W, 3) uint8 to the share of one of FOCUS against the other two."""

    encoder: Encoder
    weights: FocusWeights
    index: int

    def __call__(self, image: np.ndarray) -> float:
        """Return the share, 0 to 1."""
        return float(read_focus(self.encoder, at_own_size(image)[None], self.weights)[0, self.index])


def make_focus_share(encoder: Encoder, name: str) -> FocusShare:
    """Return what reads the share of one of FOCUS."""
    return FocusShare(encoder, load_focus(), FOCUS.index(name))

"""A specimen: a picture of which the truth of some instruments is known because it was drawn from it, and how to draw one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from skimage.color import rgb2lab

from loralab.data import make_examples
from loralab.generators import make_mask
from loralab.spec.models import COLOURS, ShapesData


@dataclass(frozen=True)
class Specimen:
    """A picture (H, W, 3) uint8 with the truth of the instruments that can be held against it, and the factors that were varied."""

    image: np.ndarray
    base_image: np.ndarray
    training_image: np.ndarray
    truth: dict[str, float]
    factors: dict[str, str | float] = field(default_factory=dict)
    group: str = ""  # specimens of one group stand for the pictures of one run in one cell


def alone(image: np.ndarray, truth: dict[str, float], factors: dict[str, str | float]) -> Specimen:
    """Return a specimen that is compared with nothing."""
    return Specimen(image, image, image, truth, factors)


def drawn(size_px: int, **given: object) -> np.ndarray:
    """Return one drawn shape (size_px, size_px, 3) uint8; ``given`` are keys of a study's `generate: shapes`."""
    spec = ShapesData.model_validate({"generate": "shapes", **given})
    return make_examples(spec, size_px)[0].image


def filled(size_px: int, shape: str, fill: tuple[int, int, int], behind: tuple[int, int, int], size: float) -> np.ndarray:
    """Return one drawn shape (size_px, size_px, 3) uint8 in any RGB colours."""
    inside = make_mask(shape, (0.5, 0.5), size, 4 * size_px).reshape(size_px, 4, size_px, 4).mean(axis=(1, 3))[..., None]
    return np.asarray((inside * np.array(fill) + (1 - inside) * np.array(behind)).round().astype(np.uint8))


def lab_of(name: str) -> np.ndarray:
    """Return CIELAB (3,) of a named colour."""
    return np.asarray(rgb2lab(np.array(COLOURS[name], dtype=np.float64)[None, None] / 255)[0, 0])

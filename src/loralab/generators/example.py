"""One training picture: pixels, caption, and what is known to be true of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Factor = str | int | float


@dataclass(frozen=True)
class Example:
    """A picture (H, W, 3) uint8 with its own caption; ``factors`` are the ground truth and the placeholders of captions.

    ``mask`` (H, W) uint8 says how much each pixel counts in the loss; None = all alike.
    """

    image: np.ndarray
    caption: str
    factors: Mapping[str, Factor]
    source: str
    mask: np.ndarray | None = None

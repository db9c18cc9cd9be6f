"""A drawn picture of one's choice."""

from __future__ import annotations

import numpy as np

from loralab.data import make_examples
from loralab.spec.models import ShapesData


def drawn(**given: object) -> np.ndarray:
    """Return the first picture (64, 64, 3) uint8 of shapes as ``given``."""
    return make_examples(ShapesData.model_validate({"generate": "shapes", **given}), 64)[0].image

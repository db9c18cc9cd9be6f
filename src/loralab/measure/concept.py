"""Concepts: how sure an image-text encoder of the base's world is that a picture shows what a word says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, inverted, measured, not_measurable, table_of
from loralab.measure.specimen import Specimen

NO_ENCODER = "needs an image-text encoder, but this base has none that loralab knows"


@dataclass(frozen=True)
class Concept:
    """One concept under one encoder: what is asked of a picture, and pictures of which the answer is known."""

    name: str
    share: Callable[[np.ndarray], float]  # picture (H, W, 3) uint8 -> softmax share of the word against all that may be there instead
    specimens: Callable[[int], Sequence[Specimen]]  # size in px -> pictures with the truth of `concept`
    nuisances: Callable[[int], Sequence[Specimen]]  # size in px -> pictures of the concept itself, in every colour


@dataclass(frozen=True)
class Companion:
    """An image-text encoder that knows a base's world: which concepts can be asked for, and how."""

    name: str
    sha256: str
    names: tuple[str, ...]
    concept: Callable[[str], Concept]


def measure_concept(picture: Picture, context: Context) -> Reading:
    """Return how sure the encoder is that the picture shows the concept, 0 to 1."""
    if context.concept_share is None or picture.pixels is None:
        return not_measurable(NO_ENCODER)
    return measured(context.concept_share(picture.pixels))


TABLE = table_of(
    Instrument(
        "concept", "share", 0, 1, "continuous", "how certain the base's image-text encoder is that the picture shows the concept", 32,
        measure_concept,
        needs="concept", lower="less like the concept", higher="more like the concept", twin=inverted,
    ),
)  # fmt: skip

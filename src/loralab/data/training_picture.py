"""A picture as training shows it: resized but not yet cut, with its mask, its caption's options, and how often an epoch shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loralab.data.buckets import BucketRule, fit_picture
from loralab.data.dataset import Subset
from loralab.spec.datasets import SubsetSpec


@dataclass(frozen=True)
class TrainingPicture:
    """Pixels (H, W, 3) uint8 that cover ``bucket`` (width, height), a mask (H, W) uint8 or None, and what is drawn at each showing."""

    image: np.ndarray
    mask: np.ndarray | None
    caption: str
    options: SubsetSpec
    bucket: tuple[int, int]


def make_training_pictures(subsets: Sequence[Subset], captions: Sequence[str], rules: Sequence[BucketRule]) -> list[TrainingPicture]:
    """Return the pictures of ``subsets``, each subset under its rule, with ``captions`` in the same order.

    The examples are those that `resize_to_cover` made under the same rules: their buckets follow from their original sizes.
    """
    found: list[TrainingPicture] = []
    given = iter(captions)
    for subset, rule in zip(subsets, rules, strict=True):
        for example in subset.examples:
            size = (int(example.factors["width"]), int(example.factors["height"]))
            found.append(TrainingPicture(example.image, example.mask, next(given), subset.options, fit_picture(size, rule).bucket))
    return found


def make_showings(pictures: Sequence[TrainingPicture]) -> list[int]:
    """Return the index of the picture of each showing of one epoch: training pictures by their repeats, then as many regularisation ones.

    Regularisation pictures take turns until there are as many showings of them as of training pictures, whatever their repeats.
    """
    taught = [index for index, picture in enumerate(pictures) if not picture.options.is_reg for _ in range(picture.options.num_repeats)]
    reg = [index for index, picture in enumerate(pictures) if picture.options.is_reg]
    return taught + [reg[turn % len(reg)] for turn in range(len(taught) if reg else 0)]

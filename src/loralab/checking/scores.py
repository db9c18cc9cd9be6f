"""From distances between pictures to what a file does: resemblance, firing without its trigger, damage, copies; numpy in and out.

Distances come from an embedder. Resemblance is in units of the base's own distance from the training set: 0 = as the base draws, 1 =
a copy. Damage is in units of the distance between two of the base's pictures of one prompt: 0 = untouched, 1 = another picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loralab.infer.units import estimate_mean

#: a distance below which this share of disturbed training pictures lie counts as a copy
COPY_QUANTILE = 0.95
#: a copy detector that calls more than this share of the base's own pictures copies detects nothing
MOST_FALSE_COPIES = 0.05


@dataclass(frozen=True)
class Scores:
    """What one file (or one strength of it) does, one value a unit; ``resemblance`` and ``firing`` are None without a training set."""

    resemblance: np.ndarray | None  # (S,)
    firing: np.ndarray | None  # (S,), the same without the trigger
    change: np.ndarray  # (S,), at the trigger, in the units of damage
    damage: np.ndarray  # (S,)
    copies: np.ndarray | None  # (S,), share of copies at the trigger

    @property
    def effect(self) -> np.ndarray:
        """What the file is for: resemblance where there is a training set to resemble, else the change at the trigger."""
        return self.change if self.resemblance is None else self.resemblance


def pairwise(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Euclidean distances (N, M) between rows of (N, D) and (M, D)."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def nearest_distance(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the distance (P, S) of each picture's features (P, S, D) from the nearest training picture (M, D)."""
    flat = pairwise(features.reshape(-1, features.shape[-1]), training).min(axis=1)
    return np.asarray(flat.reshape(features.shape[:2]))


def resemblance(lora: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return (S,) the share of the base's mean distance that the LoRA takes away; ``lora`` and ``base`` are nearest distances (P, S)."""
    return np.asarray((base - lora).mean(axis=0) / base.mean())


def moved(lora: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return (S,) how far features (P, S, D) were moved, in units of the mean distance between the base's pictures of one prompt."""
    apart = np.sqrt(((lora - base) ** 2).sum(axis=-1))  # (P, S)
    n = base.shape[1]
    unit = [pairwise(pictures, pictures)[np.triu_indices(n, 1)].mean() for pictures in base]
    return np.asarray((apart / np.asarray(unit)[:, None]).mean(axis=0))


def copy_threshold(disturbed: np.ndarray, base: np.ndarray) -> float | None:
    """Return the distance below which a picture is a copy: that of disturbed training pictures from their originals (95 % lie below).

    ``disturbed`` (M,) is the positive control, ``base`` (P, S) the negative one: None where the base's own pictures pass for copies.
    """
    threshold = float(np.quantile(disturbed, COPY_QUANTILE))
    return threshold if float((base <= threshold).mean()) <= MOST_FALSE_COPIES else None


def worth_keeping(scores: Mapping[str, Scores]) -> tuple[list[str], dict[str, str]]:
    """Return (the files that no other beats, what beats each of the others).

    One file beats another if it has at least the effect and at most the damage, and one of the two differs beyond chance: the paired
    95 % interval over units lies on one side of 0.
    """
    beaten: dict[str, str] = {}
    for name, own in scores.items():
        for other, theirs in scores.items():
            if other != name and _beats(theirs, own):
                beaten[name] = other
                break
    return [name for name in scores if name not in beaten], beaten


def _beats(one: Scores, other: Scores) -> bool:
    effect, damage = one.effect - other.effect, one.damage - other.damage
    if effect.mean() < 0 or damage.mean() > 0:
        return False
    return estimate_mean(effect).low > 0 or estimate_mean(damage).high < 0


def mean_scores(files: Sequence[Scores]) -> Scores:
    """Return scores whose units are files: the mean of each file, for one file a training seed."""

    def over(name: str) -> np.ndarray:
        return np.array([getattr(file, name).mean() for file in files])

    def known(name: str) -> np.ndarray | None:
        return None if any(getattr(file, name) is None for file in files) else over(name)

    return Scores(known("resemblance"), known("firing"), over("change"), over("damage"), known("copies"))

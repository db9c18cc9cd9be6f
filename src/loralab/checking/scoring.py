"""From the features of a check's pictures to what each file does: features in, one value an image seed out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loralab.bases.round_trip import round_trip_of
from loralab.checking.opening import Checked, Variant
from loralab.checking.scores import Scores, copy_threshold, moved, nearest_distance, resemblance

#: a quantile of their distances is all that is taken of them
MOST_DISTURBED = 32
#: which of a picture's features
LIKENESS, COPIES = 0, 1


def learn_training_set(check: Checked) -> None:
    """Take the training set's features, and how far some pictures lie from themselves behind the VAE and shifted by a pixel or two."""
    if check.training is None:
        return
    check.training_features = check.embedder.embed(check.training)
    check.training_copy_features = check.embedder.embed_for_copies(check.training)
    some = np.unique(np.linspace(0, len(check.training) - 1, MOST_DISTURBED).round().astype(int))
    again = round_trip_of(check.base)(check.training[some])
    shift = max(1, check.base.size_px // 64)
    padded = np.pad(again, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    shifted = padded[:, : again.shape[1], : again.shape[2]]
    disturbed = check.embedder.embed_for_copies(np.concatenate([again, shifted]))
    own = check.training_copy_features[some]
    check.disturbed = np.sqrt(((disturbed - np.concatenate([own, own])) ** 2).sum(axis=1))


def set_threshold(check: Checked) -> None:
    """Set the distance below which a picture is a copy, from disturbed training pictures and from the base's own."""
    if check.disturbed is None:
        return
    base = {check.base_of(index): index for index in reversed(check.drawn)}
    found = [_copy_distance(check, variant, index).ravel() for variant, index in base.items()]
    check.threshold = copy_threshold(check.disturbed, np.concatenate(found))


def score(check: Checked, index: int, strength: float = 1.0) -> Scores:
    """Return what a file does at a strength, one value an image seed."""
    lora, base, prompts = check.variant(index, strength), check.base_of(index), check.prompts[index]

    def both(at: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return _stacked(check, lora, at), _stacked(check, base, at)

    found: dict[str, np.ndarray | None] = {"resemblance": None, "firing": None, "copies": None}
    if check.training_features is not None:
        at, base_at = (nearest_distance(side, check.training_features) for side in both(prompts.trigger))
        found["resemblance"] = resemblance(at, base_at)
        if prompts.without:
            off, base_off = (nearest_distance(side, check.training_features) for side in both(prompts.without))
            found["firing"] = resemblance(off, base_off)
        if check.threshold is not None:
            found["copies"] = (_copy_distance(check, lora, index) <= check.threshold).mean(axis=0)
    return Scores(**found, change=moved(*both(prompts.trigger)), damage=moved(*both(prompts.unrelated)))  # type: ignore[arg-type]


def _copy_distance(check: Checked, variant: Variant, index: int) -> np.ndarray:
    """Return the distance (P, S) of pictures at the trigger's prompts of file ``index`` from the nearest training picture."""
    assert check.training_copy_features is not None  # callers have a training set
    return nearest_distance(_stacked(check, variant, check.prompts[index].trigger, COPIES), check.training_copy_features)


def _stacked(check: Checked, variant: Variant, prompts: Sequence[str], kind: int = LIKENESS) -> np.ndarray:
    """Return the features (P, S, D) of a variant at every seed that is drawn."""
    found = check.features[variant]
    return np.stack([np.concatenate([found[prompt, wave][kind] for wave in range(check.n_waves)]) for prompt in prompts])

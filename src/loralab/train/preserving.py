"""Holding a training to its base: a step's inputs in; the base's own predictions, and what missing them costs each run, out.

Output preservation (ai-toolkit's differential output preservation and blank-prompt preservation, in its SDTrainer.py): the same noisy
pictures are seen once more, under captions in which the class word stands in place of the trigger, or under none. The target is what the
base predicts there, with the adapter silent, and the distance is the mean square, whatever the recipe's own loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loralab.bases import Base, embed_tokens, predict
from loralab.data import with_words
from loralab.spec.models import TrainSpec
from loralab.train.batches import Minibatch
from loralab.train.losses import Prior


def preserved_caption(recipe: TrainSpec, caption: str) -> str:
    """Return the caption under which a picture must be predicted as the base predicts it.

    Of a caption that is shown without the trigger (dropped, whole or that tag) it is the class word alone, as in ai-toolkit: the same
    caption would have two targets.
    """
    if recipe.preserves == "blank":
        return ""
    found = with_words(caption, recipe.diff_output_preservation_trigger, recipe.diff_output_preservation_class)
    return recipe.diff_output_preservation_class if found == caption else found


@dataclass(frozen=True)
class Seen:
    """What the denoiser is shown at one step: N pictures under their texts, embeddings or (``is_tokens``) tokens."""

    noisy: torch.Tensor  # (N, C, h, w)
    timesteps: torch.Tensor  # (N,)
    text: torch.Tensor  # (N, T, D) or (N, T)
    is_tokens: bool

    def predicted(self, base: Base) -> torch.Tensor:
        """Return what the base predicts (N, C, h, w), with whatever is attached to it."""
        return predict(base, self.noisy, self.timesteps, embed_tokens(base, self.text) if self.is_tokens else self.text)

    def rows(self, chosen: torch.Tensor) -> Seen:
        """Return the chosen pictures (N,) bool alone."""
        return Seen(self.noisy[chosen], self.timesteps[chosen], self.text[chosen], self.is_tokens)

    def under(self, text: torch.Tensor) -> Seen:
        """Return the same pictures under another text each."""
        return replace(self, text=text)

    def beside(self, other: Seen, n_runs: int) -> Seen:
        """Return each run's rows with its rows of ``other`` behind them: N is K*2B, group-major."""
        pairs = ((self.noisy, other.noisy), (self.timesteps, other.timesteps), (self.text, other.text))
        noisy, timesteps, text = (torch.cat([each.unflatten(0, (n_runs, -1)) for each in pair], dim=1).flatten(0, 1) for pair in pairs)
        return Seen(noisy, timesteps, text, self.is_tokens)


def predict_twice(base: Base, seen: Seen, preserved: torch.Tensor | None, n_runs: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what the base, with a stack attached, predicts (K*B, C, h, w) of the pictures, and of the same under the preserved captions.

    Both come of one pass over K*2B rows; where nothing is preserved, of the plain one over K*B.
    """
    if preserved is None:
        return seen.predicted(base), None
    rows = seen.beside(seen.under(preserved), n_runs).predicted(base)
    own, again = rows.unflatten(0, (n_runs, -1)).chunk(2, dim=1)
    return own.flatten(0, 1), again.flatten(0, 1)


@dataclass(frozen=True)
class Targets:
    """What is to be predicted at one step: for each picture (K*B, C, h, w), in its masked places, and under its preserved caption."""

    own: torch.Tensor
    prior: Prior | None = None
    preserved: torch.Tensor | None = None


@torch.no_grad()
def make_targets(base: Base, seen: Seen, own: torch.Tensor, batch: Minibatch, recipes: Sequence[TrainSpec]) -> Targets:
    """Return the targets of a step whose plain ones are ``own``; asks the base, to which nothing is attached, for as little as it can.

    Pictures that are ``from_base`` have the base's prediction as their target (sd-scripts #1710, OneTrainer's prior prediction).
    """
    preserved = None if batch.preserved is None else seen.under(batch.preserved).predicted(base)
    by_recipe = [0.0 if batch.masks is None else recipe.masked_prior_preservation_weight for recipe in recipes]
    if batch.from_base is None and not any(by_recipe):
        return Targets(own, preserved=preserved)
    weights = own.new_tensor(by_recipe).repeat_interleave(len(own) // len(recipes))
    replaced = torch.zeros_like(weights, dtype=torch.bool) if batch.from_base is None else batch.from_base
    wanted, told = (weights > 0) | replaced, own.clone()
    if bool(wanted.any()):  # a step may show none of those pictures
        told[wanted] = seen.rows(wanted).predicted(base)
    prior = Prior(told, weights) if any(by_recipe) else None
    return Targets(torch.where(replaced[:, None, None, None], told, own), prior, preserved)


def preservation_losses(predicted: torch.Tensor, target: torch.Tensor, recipes: Sequence[TrainSpec]) -> torch.Tensor:
    """Return what each run's departures from the base cost (K,): mean squares of (K*B, C, h, w) times the recipe's multiplier."""
    multipliers = predicted.new_tensor([recipe.preservation_multiplier for recipe in recipes])
    return (predicted - target).square().reshape(len(recipes), -1).mean(dim=1) * multipliers

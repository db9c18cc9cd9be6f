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


def preserved_caption(recipe: TrainSpec, caption: str) -> str:
    """Return the caption under which a picture must be predicted as the base predicts it."""
    if recipe.preserves == "blank":
        return ""
    return with_words(caption, recipe.diff_output_preservation_trigger, recipe.diff_output_preservation_class)


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

    def under(self, text: torch.Tensor) -> Seen:
        """Return the same pictures under another text each."""
        return replace(self, text=text)

    def beside(self, other: Seen, n_runs: int) -> Seen:
        """Return each run's rows with its rows of ``other`` behind them: N is K*2B, group-major."""
        pairs = ((self.noisy, other.noisy), (self.timesteps, other.timesteps), (self.text, other.text))
        noisy, timesteps, text = (torch.cat([each.unflatten(0, (n_runs, -1)) for each in pair], dim=1).flatten(0, 1) for pair in pairs)
        return Seen(noisy, timesteps, text, self.is_tokens)


def apart(rows: torch.Tensor, n_runs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions for what `Seen.beside` put together: (K*B, ...) twice."""
    one, other = rows.unflatten(0, (n_runs, -1)).chunk(2, dim=1)
    return one.flatten(0, 1), other.flatten(0, 1)


def preservation_losses(predicted: torch.Tensor, target: torch.Tensor, recipes: Sequence[TrainSpec]) -> torch.Tensor:
    """Return what each run's departures from the base cost (K,): mean squares of (K*B, C, h, w) times the recipe's multiplier."""
    multipliers = predicted.new_tensor([recipe.preservation_multiplier for recipe in recipes])
    return (predicted - target).square().reshape(len(recipes), -1).mean(dim=1) * multipliers

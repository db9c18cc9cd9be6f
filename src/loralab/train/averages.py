"""The average of an adapter's weights over its steps (EMA): a stack's values step by step in, what is shown in their place out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from loralab.spec.models import TrainSpec


class Averages:
    """The averages of those runs that ask for one (``ema_decay``), rows of (K, P); the others are shown as they are.

    The decay rises to the recipe's as (1 + n) / (10 + n) after n steps, so that the start is soon forgotten (diffusers' EMAModel).
    """

    def __init__(self, values: torch.Tensor, recipes: Sequence[TrainSpec]) -> None:
        self.rows = [k for k, recipe in enumerate(recipes) if recipe.ema_decay > 0]
        self.decays = values.new_tensor([recipes[k].ema_decay for k in self.rows])[:, None]
        self.averages = values[self.rows].clone()

    @torch.no_grad()
    def add(self, values: torch.Tensor, step: int) -> None:
        """Take in the values (K, P) behind ``step``, counted from 1."""
        if self.rows:
            decays = self.decays.clamp(max=step / (9 + step)) if step > 1 else torch.zeros_like(self.decays)
            self.averages.sub_((1 - decays) * (self.averages - values[self.rows]))

    def shown(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` (K, P) with the averages in their rows."""
        if not self.rows:
            return values
        found = values.clone()
        found[self.rows] = self.averages
        return found

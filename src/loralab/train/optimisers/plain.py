"""SGD and Lion."""

from __future__ import annotations

from typing import NamedTuple

import torch

from loralab.spec.models import TrainSpec
from loralab.train.optimisers.base import Optimiser

LION_BETAS = (0.9, 0.99)


class SgdSettings(NamedTuple):
    """Momentum, and whether it is Nesterov's."""

    momentum: float
    nesterov: bool


class SGD(Optimiser[SgdSettings]):
    """Stochastic gradient descent with momentum, as torch.optim.SGD: weight decay joins the gradient."""

    PER_VALUE = ("momentum",)

    @staticmethod
    def settings(recipe: TrainSpec) -> SgdSettings:
        """Return a recipe's momentum."""
        return SgdSettings(recipe.momentum, recipe.nesterov)

    def update(self, rows: slice, settings: SgdSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows."""
        values, momentum = self.values[rows], self.held["momentum"][rows]
        slopes = gradients + self.weight_decays[rows] * values
        momentum.mul_(settings.momentum).add_(slopes)
        values.sub_(rates * (slopes + settings.momentum * momentum if settings.nesterov else momentum))


class LionSettings(NamedTuple):
    """The two betas: of the direction, and of the memory."""

    beta1: float
    beta2: float


class Lion(Optimiser[LionSettings]):
    """Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2): steps of one size in the direction of the sign."""

    PER_VALUE = ("memory",)

    @staticmethod
    def settings(recipe: TrainSpec) -> LionSettings:
        """Return a recipe's betas, Lion's own where it says nothing."""
        chosen = zip((recipe.beta1, recipe.beta2), LION_BETAS, strict=True)
        return LionSettings(*(default if value is None else value for value, default in chosen))

    def update(self, rows: slice, settings: LionSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows."""
        values, memory = self.values[rows], self.held["memory"][rows]
        direction = (memory * settings.beta1 + gradients * (1 - settings.beta1)).sign_()
        values.mul_(1 - rates * self.weight_decays[rows])
        values.sub_(rates * direction)
        memory.mul_(settings.beta2).add_(gradients, alpha=1 - settings.beta2)

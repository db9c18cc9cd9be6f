"""Adafactor: second moments of matrices held as a row and a column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from loralab.spec.models import TrainSpec
from loralab.train.optimisers.base import Optimiser

#: Shazeer & Stern 2018 and transformers' Adafactor: squares are never below this, sizes of values neither
LEAST_SQUARE, LEAST_SCALE = 1e-30, 1e-3
CLIP, DECAY_RATE, LARGEST_RELATIVE = 1.0, -0.8, 1e-2


class AdafactorSettings(NamedTuple):
    """First beta (None = no first moment), and what makes the rate."""

    beta1: float | None
    relative_step: bool
    scale_parameter: bool


class Adafactor(Optimiser[AdafactorSettings]):
    """Adafactor (Shazeer & Stern 2018, arXiv:1804.04235) as transformers has it; its factors follow each layer's shape in files.

    Runs that share a stack have equal ranks: means over a padded row or column would count values that are not there.
    """

    PER_VALUE = ("row", "column")

    def prepare(self, recipes: Sequence[TrainSpec]) -> None:
        """Hold a first moment where a recipe has one."""
        if any(recipe.beta1 is not None for recipe in recipes):
            self.held["first"] = torch.zeros_like(self.values)

    @staticmethod
    def settings(recipe: TrainSpec) -> AdafactorSettings:
        """Return what a recipe says of the rate."""
        return AdafactorSettings(recipe.beta1, recipe.relative_step, recipe.scale_parameter)

    def update(self, rows: slice, settings: AdafactorSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows, tensor by tensor."""
        decay = 1 - self.steps**DECAY_RATE
        if settings.relative_step:
            rates = torch.where(rates > 0, min(LARGEST_RELATIVE, 1 / math.sqrt(self.steps)), 0.0)
        for place, shape in self.columns:
            values, gradient = self.values[rows, place], gradients[:, place]
            row, column = (self.held[name][rows, place] for name in ("row", "column"))
            directions = _normed(gradient, row, column, shape, decay)
            directions = directions / (_rms(directions) / CLIP).clamp(min=1.0)
            rate = rates if rates.shape[1] == 1 else rates[:, place]
            if settings.scale_parameter:
                rate = rate * _rms(values).clamp(min=LEAST_SCALE)
            steps = directions * rate
            if settings.beta1 is not None:
                first = self.held["first"][rows, place]
                steps = first.mul_(settings.beta1).add_(steps, alpha=1 - settings.beta1)
            values.sub_(values * self.weight_decays[rows] * rate)
            values.sub_(torch.where(rate > 0, steps, 0.0))


def _normed(gradient: torch.Tensor, row: torch.Tensor, column: torch.Tensor, shape: Sequence[int], decay: float) -> torch.Tensor:
    """Return gradients (k, n) over the root of their factored second moments, which are updated.

    The row means (over the last dimension) and the column means (over the last but one) lie at the beginning of ``row`` and ``column``.
    """
    k = len(gradient)
    squares = (gradient.square() + LEAST_SQUARE).reshape(k, *shape)
    means = []
    for held, dim in ((row, -1), (column, -2)):
        found = squares.mean(dim=dim)
        kept = held[:, : found[0].numel()]
        kept.mul_(decay).add_(found.flatten(1), alpha=1 - decay)
        means.append(kept.reshape(found.shape))
    by_row = (means[0] / means[0].mean(dim=-1, keepdim=True)).rsqrt().unsqueeze(-1)
    by_column = means[1].unsqueeze(-2).rsqrt()
    return (by_row * by_column).flatten(1) * gradient


def _rms(values: torch.Tensor) -> torch.Tensor:
    """Return the root mean square of each row (k, 1)."""
    return torch.linalg.vector_norm(values, dim=1, keepdim=True) / values.shape[1] ** 0.5

"""AdamW, AdamW with states of 8 bits, and AdamW without a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from loralab.spec.models import TrainSpec
from loralab.train.optimisers.base import Columns, Optimiser

BETAS = (0.9, 0.999)
EPSILON = 1e-8
#: bitsandbytes' sizes: values that share a scale, and values below which a tensor's states stay whole
BLOCK, LEAST_8BIT = 256, 4096


class AdamSettings(NamedTuple):
    """Betas and epsilon."""

    beta1: float
    beta2: float
    epsilon: float


def adam_settings(recipe: TrainSpec) -> AdamSettings:
    """Return a recipe's betas and epsilon, Adam's own where it says nothing."""
    chosen = zip((recipe.beta1, recipe.beta2, recipe.epsilon), (*BETAS, EPSILON), strict=True)
    return AdamSettings(*(default if value is None else value for value, default in chosen))


class AdamW(Optimiser[AdamSettings]):
    """Decoupled AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    PER_VALUE = ("first", "second")
    settings = staticmethod(adam_settings)

    def update(self, rows: slice, settings: AdamSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows."""
        beta1, beta2, epsilon = settings
        values, first, second = self.values[rows], self.held["first"][rows], self.held["second"][rows]
        first.lerp_(gradients, 1 - beta1)
        second.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
        corrected_first = first / (1 - beta1**self.steps)
        corrected_second = second / (1 - beta2**self.steps)
        values.mul_(1 - rates * self.weight_decays[rows])
        values.sub_(rates * corrected_first / (corrected_second.sqrt() + epsilon))


class AdamW8bit(AdamW):
    """AdamW whose moments are rounded to 8 bits after every step (Dettmers et al. 2022, arXiv:2110.02861), as bitsandbytes rounds them.

    The rounding is simulated: the moments lie in memory as float32. Tensors of fewer than 4,096 values are not rounded, as there.
    """

    def prepare(self, recipes: Sequence[TrainSpec]) -> None:
        """Lay out the codes."""
        self.codes = {"first": dynamic_code(signed=True), "second": dynamic_code(signed=False)}
        self.codes = {name: code.to(self.values.device) for name, code in self.codes.items()}

    def update(self, rows: slice, settings: AdamSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows, then round their moments."""
        super().update(rows, settings, gradients, rates)
        for name, code in self.codes.items():
            round_states(self.held[name][rows], self.columns, code)


def round_states(states: torch.Tensor, columns: Sequence[Columns], code: torch.Tensor) -> None:
    """Round states (k, P) in place, tensor by tensor, to ``code`` times the largest size in each block of 256."""
    edges = (code[1:] + code[:-1]) / 2
    for place, _ in columns:
        part = states[:, place]
        if part.shape[1] < LEAST_8BIT:
            continue
        padded = torch.nn.functional.pad(part, (0, -part.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
        largest = padded.abs().amax(dim=2, keepdim=True)
        shares = torch.where(largest > 0, padded / largest, 0.0)
        rounded = code[torch.bucketize(shares, edges)] * largest
        part.copy_(rounded.flatten(1)[:, : part.shape[1]])


def dynamic_code(*, signed: bool) -> torch.Tensor:
    """Return the 256 numbers from -1 (or 0) to 1 that 8 bits stand for: dense near 0, seven decades (arXiv:1511.04561, dynamic tree)."""
    numbers = [0.0, 1.0]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (decade if signed else decade + 1) + 1, dtype=torch.float32)
        means = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (decade - 6)
        numbers += [*means.tolist(), *((-means).tolist() if signed else [])]
    return torch.tensor(sorted(numbers), dtype=torch.float32)


class ScheduleFreeAdamW(Optimiser[AdamSettings]):
    """AdamW without a schedule (Defazio et al. 2024, arXiv:2405.15682): values are trained at y, between z and the average x that is shown.

    The average weighs each step by the square of the largest rate so far, so that a warm-up counts for little.
    """

    PER_VALUE = ("second", "z")
    PER_RUN = ("largest_rate", "weight_sum")
    settings = staticmethod(adam_settings)

    def prepare(self, recipes: Sequence[TrainSpec]) -> None:
        """Begin at the values; remember each run's first beta for the average."""
        self.held["z"].copy_(self.values)
        self.momenta = self._column([self.settings(recipe).beta1 for recipe in recipes])

    def update(self, rows: slice, settings: AdamSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move y and z; the average moves with them, without being held."""
        beta1, beta2, epsilon = settings
        y, z, second = self.values[rows], self.held["z"][rows], self.held["second"][rows]
        second.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
        directions = gradients / ((second / (1 - beta2**self.steps)).sqrt() + epsilon) + self.weight_decays[rows] * y
        highest = rates.amax(dim=1, keepdim=True)
        largest, total = self.held["largest_rate"][rows], self.held["weight_sum"][rows]
        torch.maximum(largest, highest, out=largest)
        weights = largest.square() * (highest > 0)
        total.add_(weights)
        share = torch.where(total > 0, weights / total.clamp(min=1e-38), 0.0)
        y.copy_(torch.where(rates > 0, y.lerp(z, share) + directions * rates * (beta1 * (1 - share) - 1), y))
        z.sub_(directions * rates)

    def shown(self) -> torch.Tensor:
        """Return the average x = y + (1 - 1 / beta1) (z - y)."""
        return torch.lerp(self.values, self.held["z"], 1 - 1 / self.momenta)

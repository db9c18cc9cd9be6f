"""Optimisers that find their learning rate: Prodigy and D-Adaptation (Adam); the recipe's rate multiplies what they find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from loralab.spec.models import TrainSpec
from loralab.train.optimisers.adam import adam_settings
from loralab.train.optimisers.base import Optimiser, row_sums


class FoundRateSettings(NamedTuple):
    """Betas and epsilon, and how the rate is found."""

    beta1: float
    beta2: float
    epsilon: float
    d0: float
    d_coef: float
    growth_rate: float
    bias_correction: bool
    safeguard_warmup: bool

    def correction(self, steps: torch.Tensor) -> torch.Tensor | float:
        """Return Adam's bias correction behind ``steps`` (k, 1) steps, 1 where it is off."""
        return (1 - self.beta2 ** (steps + 1)).sqrt() / (1 - self.beta1 ** (steps + 1)) if self.bias_correction else 1.0


class FoundRate(Optimiser[FoundRateSettings]):
    """What the two share: ``d`` (K, 1), the rate found so far, which begins at d0 and never falls."""

    @staticmethod
    def settings(recipe: TrainSpec) -> FoundRateSettings:
        """Return what a recipe says."""
        growth = math.inf if recipe.growth_rate is None else recipe.growth_rate
        correction, guard = recipe.bias_correction, recipe.safeguard_warmup
        return FoundRateSettings(*adam_settings(recipe), recipe.d0, recipe.d_coef, growth, correction, guard)

    def prepare(self, recipes: Sequence[TrainSpec]) -> None:
        """Begin at d0. The estimates are held in double precision: the rate hangs on their ratio."""
        for name in self.PER_RUN:
            self.held[name] = self.held[name].double()
        self.held["d"].copy_(torch.tensor([[recipe.d0] for recipe in recipes], dtype=torch.float64))


class Prodigy(FoundRate):
    """Prodigy (Mishchenko & Defazio 2023, arXiv:2306.06101, algorithm 4), with decoupled decay as in prodigyopt."""

    PER_VALUE = ("first", "second", "s", "start")
    PER_RUN = ("d", "largest", "numerator", "counted")

    def prepare(self, recipes: Sequence[TrainSpec]) -> None:
        """Remember where the values began."""
        super().prepare(recipes)
        self.held["largest"].copy_(self.held["d"])
        self.held["start"].copy_(self.values)

    def update(self, rows: slice, settings: FoundRateSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows; a run at rate 0 keeps its estimate too."""
        values, held = self.values[rows], {name: value[rows] for name, value in self.held.items()}
        beta1, beta2, beta3 = settings.beta1, settings.beta2, math.sqrt(settings.beta2)
        goes = rates > 0
        d = held["d"].clone()
        rate = d * rates * settings.correction(held["counted"])
        closer = row_sums(gradients * (held["start"] - values))
        numerator = held["numerator"] * beta3 + d / settings.d0 * rate * closer
        weight = d / settings.d0 * (d if settings.safeguard_warmup else rate)
        _keep(held["first"], held["first"] * beta1 + gradients * (d * (1 - beta1)).float(), goes)
        _keep(held["second"], held["second"] * beta2 + gradients.square() * (d * d * (1 - beta2)).float(), goes)
        _keep(held["s"], held["s"] * beta3 + gradients * weight.float(), goes)
        total = row_sums(held["s"].abs())
        goes = goes & (total > 0)
        estimate = settings.d_coef * numerator / total.clamp(min=1e-300)
        raised = torch.where(d == settings.d0, torch.maximum(d, estimate), d)
        largest = torch.maximum(held["largest"], estimate)
        _keep(held["numerator"], numerator, goes)
        _keep(held["largest"], largest, goes)
        _keep(held["d"], torch.minimum(largest, raised * settings.growth_rate), goes)
        _keep(held["counted"], held["counted"] + 1, goes)
        decayed = values - values * (self.weight_decays[rows] * rate).float()
        denominator = held["second"].sqrt() + (held["d"] * settings.epsilon).float()
        _keep(values, decayed - rate.float() * held["first"] / denominator, goes)


class DAdaptAdam(FoundRate):
    """D-Adaptation for Adam (Defazio & Mishchenko 2023, arXiv:2301.07733, algorithm 5) with decoupled decay, as in dadaptation."""

    PER_VALUE = ("first", "second", "s")
    PER_RUN = ("d", "numerator", "counted")

    def update(self, rows: slice, settings: FoundRateSettings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move the rows; a run at rate 0 keeps its estimate too."""
        values, held = self.values[rows], {name: value[rows] for name, value in self.held.items()}
        beta1, beta2, root = settings.beta1, settings.beta2, math.sqrt(settings.beta2)
        goes = rates > 0
        d = held["d"].clone()
        rate = d * rates * settings.correction(held["counted"])
        aligned = row_sums(gradients * (held["s"] / (held["second"].sqrt() + settings.epsilon)))
        numerator = root * held["numerator"] + (1 - root) * rate * aligned
        _keep(held["first"], held["first"] * beta1 + gradients * (rate * (1 - beta1)).float(), goes)
        _keep(held["second"], held["second"] * beta2 + gradients.square() * (1 - beta2), goes)
        _keep(held["s"], held["s"] * root + gradients * (rate * (1 - root)).float(), goes)
        total = row_sums(held["s"].abs())
        goes = goes & (total > 0)
        estimate = numerator / ((1 - root) * total.clamp(min=1e-300))
        _keep(held["numerator"], numerator, goes)
        _keep(held["d"], torch.maximum(d, torch.minimum(estimate, d * settings.growth_rate)), goes)
        _keep(held["counted"], held["counted"] + 1, goes)
        decayed = values - values * (self.weight_decays[rows] * rate).float()
        _keep(values, decayed - held["first"] / (held["second"].sqrt() + settings.epsilon), goes)


def _keep(held: torch.Tensor, new: torch.Tensor, goes: torch.Tensor) -> None:
    """Put ``new`` in the place of ``held`` in the rows that go on."""
    held.copy_(torch.where(goes, new, held))

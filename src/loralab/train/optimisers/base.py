"""What optimisers of a stack share: values and gradients (K, P) in, updated in place, each run by its own rate, settings and fate.

No quantity couples two rows. Settings that a scalar holds (betas, epsilon) may differ between runs: rows are then updated one by one, by
the same arithmetic as all together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from loralab.spec.models import TrainSpec

Settings = TypeVar("Settings")
#: where a tensor of a layer lies in the flat values, and its shape in files
Columns = tuple[slice, tuple[int, ...]]


@dataclass(frozen=True)
class Values:
    """What is optimised: ``flat`` (K, P), the tensors in it, and the share of its run's rate that each value gets (None = 1)."""

    flat: torch.Tensor
    columns: Sequence[Columns] = ()
    shares: torch.Tensor | None = None  # (K, P)


class Optimiser(Generic[Settings]):
    """One optimiser over K independent runs; a subclass says what a step does to rows that share their settings."""

    #: what a subclass keeps for every value (K, P), and for every run (K, 1), all zero at first
    PER_VALUE: tuple[str, ...] = ()
    PER_RUN: tuple[str, ...] = ()

    def __init__(self, values: Values, recipes: Sequence[TrainSpec]) -> None:
        self.values, self.columns, self.shares = values.flat, values.columns, values.shares
        self.held = {name: torch.zeros_like(self.values) for name in self.PER_VALUE}
        self.held |= {name: torch.zeros_like(self.values[:, :1]) for name in self.PER_RUN}
        self.weight_decays = self._column([recipe.weight_decay for recipe in recipes])
        self.max_norms = self._column([recipe.max_grad_norm for recipe in recipes])
        self.blocks = blocks_of([self.settings(recipe) for recipe in recipes])
        self.steps = 0
        self.prepare(recipes)

    @staticmethod
    def settings(recipe: TrainSpec) -> Settings:
        """Return what of a recipe the update needs as scalars."""
        raise NotImplementedError

    def prepare(self, recipes: Sequence[TrainSpec]) -> None:
        """Set what is held at first, where that is not zero."""

    def update(self, rows: slice, settings: Settings, gradients: torch.Tensor, rates: torch.Tensor) -> None:
        """Move ``rows`` by their clipped gradients (k, P) at ``rates`` (k, 1) or (k, P); a rate of 0 changes no value."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, gradients: torch.Tensor, norms: torch.Tensor, rates: torch.Tensor, alive: torch.Tensor) -> None:
        """Update every run that is ``alive`` (K,) by its learning rate in ``rates`` (K,); the others keep their values.

        ``norms`` (K,) are the gradients' lengths: above its limit a run's gradient is shortened, as in torch's clip_grad_norm_.
        """
        self.steps += 1
        factors = (self.max_norms / (norms[:, None] + 1e-6)).clamp(max=1.0)
        clipped = torch.where(alive[:, None], gradients * factors, 0.0)  # a product would keep a stopped run's NaN
        rate = torch.where(alive, rates, 0.0)[:, None]
        if self.shares is not None:
            rate = rate * self.shares
        for rows, settings in self.blocks:
            self.update(rows, settings, clipped[rows], rate[rows])

    def shown(self) -> torch.Tensor:
        """Return the values (K, P) that the adapters have: those that are trained, unless an optimiser averages."""
        return self.values

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that steps have left here but the values themselves: not copies."""
        return {**self.held, "steps": torch.tensor(self.steps)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go to where ``state`` was taken."""
        for name, value in self.held.items():
            value.copy_(state[name])
        self.steps = int(state["steps"])

    def _column(self, numbers: Sequence[float]) -> torch.Tensor:
        return self.values.new_tensor(list(numbers))[:, None]


def blocks_of(settings: Sequence[Settings]) -> list[tuple[slice, Settings]]:
    """Return rows with equal settings: one block of all, or a block a run."""
    if all(each == settings[0] for each in settings):
        return [(slice(None), settings[0])]
    return [(slice(k, k + 1), each) for k, each in enumerate(settings)]


def row_sums(products: torch.Tensor) -> torch.Tensor:
    """Return the sums (k, 1) of products (k, P), added in double precision: the rate that is found hangs on them."""
    return products.sum(dim=1, keepdim=True, dtype=torch.float64)

"""What is left out of adapters at a step: recipes and where their streams stand in, masks by layer out.

Every mask has a stream of its own at (knob, replicate, step, layer), so that turning one knob changes no other's numbers, another set of
layers changes no layer's, and activations that are computed again (gradient checkpointing) see the same mask.

A plain LoRA drops as sd-scripts does (networks/lora.py, LoRAModule.forward), other kinds as LyCORIS: rows of the change, not scaled up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from loralab.spec.models import TrainSpec
from loralab.train.noise import Place


@dataclass(frozen=True)
class StepDrops:
    """The masks of K runs at one step; see `loralab.adapters.stack.Drops`."""

    runs: Sequence[tuple[TrainSpec, Place]]

    def layers(self, path: str) -> list[float]:
        """Return 0 for each run whose adapter is left out at the layer, else 1."""
        return [float(_kept(recipe.module_dropout, (1,), place, "module-dropout", path).item()) for recipe, place in self.runs]

    def inner(self, path: str, shape: tuple[int, int], ranks: Sequence[int]) -> torch.Tensor:
        """Return what each inner value of a LoRA counts (K, B, T, R): 0 where it is dropped, the others so much more."""
        batch, places = shape
        found = torch.ones(len(self.runs), batch, places, max(ranks))
        for k, ((recipe, place), rank) in enumerate(zip(self.runs, ranks, strict=True)):
            for rate, drawn, knob in (
                (recipe.network_dropout, (batch, places, rank), "network-dropout"),
                (recipe.rank_dropout, (batch, 1, rank), "rank-dropout"),
            ):
                if rate and rank:
                    found[k, :, :, :rank] *= _kept(rate, drawn, place, knob, path) / (1 - rate)
        return found

    def rows(self, path: str, n_out: int) -> torch.Tensor:
        """Return which output channels of the change of another kind are left, (K, out)."""
        return torch.stack([_kept(recipe.rank_dropout, (n_out,), place, "rank-dropout", path) for recipe, place in self.runs])


def drops_at(runs: Sequence[tuple[TrainSpec, Place]]) -> StepDrops | None:
    """Return what the recipes leave out at one step; None where none leaves out anything."""
    return StepDrops(runs) if any(recipe.drops for recipe, _ in runs) else None


def _kept(rate: float, shape: tuple[int, ...], place: Place, knob: str, path: str) -> torch.Tensor:
    """Return 1 with probability 1 - ``rate``, else 0."""
    if not rate:
        return torch.ones(shape)
    return (torch.rand(shape, generator=place.stream(knob, path)) >= rate).float()

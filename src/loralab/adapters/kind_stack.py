"""K adapters of one kind that is no plain LoRA, in training over one frozen base: their tensors lie in one flat (K, P) tensor.

Used as `loralab.adapters.stack.AdapterStack` is. All K have the same kind, layers and shapes: there is no padding here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from loralab.adapters.adapter import Adapter, Own
from loralab.adapters.flat import FlatValues, Shape
from loralab.adapters.folding import scale_of, with_start_taken_off
from loralab.adapters.kind_forward import KindLayer, kind_forward
from loralab.adapters.kinds import kind_of
from loralab.adapters.stack import Drops, layers_of, replaced
from loralab.adapters.trainable import HELD, row_of
from loralab.bases import Base
from loralab.errors import lab_error
from loralab.spec.models import TrainSpec


class KindStack:
    """K adapters with tensors of their ``own``, to be trained under recipes of which the first tells the kind of all."""

    def __init__(self, base: Base, adapters: Sequence[Adapter], recipes: Sequence[TrainSpec]) -> None:
        self.base, self.started = base, list(adapters)
        self.owns = [_own_of(adapter) for adapter in adapters]
        layers = layers_of(base, adapters)
        first = self.owns[0].factors
        if any(_shapes(own) != _shapes(self.owns[0]) for own in self.owns):
            raise lab_error("training", "adapters of different shapes in one stack", "trainings of one kind, rank and set of layers")
        names = [(path, role) for path in layers for role in first[path] if role not in HELD]
        self.shapes = [tuple(first[path][role].shape) for path, role in names]
        self.values = FlatValues(names, self.shapes, len(adapters), base.device, trainable=True)
        self.flat = self.values.flat
        leaves = dict(zip(names, self.values.leaves, strict=True))
        row, constant = row_of(recipes[0]), recipes[0].dora_norm_constant
        self.layers = [
            KindLayer(path, layer, row, self._stacked(path, leaves), self._scale(path), constant) for path, layer in layers.items()
        ]

    @torch.no_grad()
    def _stacked(self, path: str, leaves: dict[tuple[str, str], torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors of a layer (K, ...): leaves that begin as the adapters do, and what is held."""
        found = {}
        for role in self.owns[0].factors[path]:
            begun = torch.stack([own.factors[path][role] for own in self.owns]).to(self.base.device)
            if role not in HELD:
                leaves[path, role].copy_(begun)
                begun = leaves[path, role]
            found[role] = begun
        return found

    def _scale(self, path: str) -> torch.Tensor:
        scales = [_scale_of(own, path) for own in self.owns]
        return torch.tensor(scales, device=self.base.device)[:, None, None]

    @property
    def n_groups(self) -> int:
        """K."""
        return len(self.owns)

    @property
    def columns(self) -> list[tuple[slice, Shape]]:
        """Where each tensor lies among the P values, and its shape as files have it."""
        return list(zip(self.values.places, self.shapes, strict=True))

    def adapters(self) -> list[Adapter | None]:
        """Return copies of the K adapters as they are now; of one that began in the weight's own directions, the LoRA that it comes to."""
        return [self._adapter(k) for k in range(self.n_groups)]

    def _adapter(self, k: int) -> Adapter:
        factors = {own.path: {role: tensor[k].detach().clone().contiguous() for role, tensor in own.tensors.items()} for own in self.layers}
        found = replace(self.started[k], own=Own(factors, self.owns[k].alphas))
        return with_start_taken_off(found) if any("held_down" in tensors for tensors in factors.values()) else found

    @contextmanager
    def attached(self, drops: Drops | None = None) -> Iterator[None]:
        """Attach the stack to the base for the block; the base is as before afterwards. ``drops`` say what is left out of the step."""
        with replaced([(own.layer, kind_forward(own, drops)) for own in self.layers]):
            yield


def _own_of(adapter: Adapter) -> Own:
    assert adapter.own is not None
    return adapter.own


def _shapes(own: Own) -> dict[str, dict[str, Shape]]:
    return {path: {role: tuple(tensor.shape) for role, tensor in sorted(tensors.items())} for path, tensors in own.factors.items()}


def _scale_of(own: Own, path: str) -> float:
    """Return the scale of a layer's change; 1 where its kind has none."""
    tensors = own.factors[path]
    kind = kind_of(frozenset(tensors) - HELD | (frozenset(tensors) & {"on_input"}))
    assert kind is not None, path
    return scale_of(kind, tensors, own.alphas.get(path, 1.0))

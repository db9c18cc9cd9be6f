"""One LoRA in memory: pairs of low-rank factors by layer, with a rank and one alpha."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from loralab.adapters.layers import adapted_layers
from loralab.bases import Base
from loralab.errors import lab_error
from loralab.spec.models import TrainSpec

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Adapter:
    """A LoRA: ``weights`` maps layer paths to (down (r, in[, k, k]), up (out, r[, 1, 1])), float32; delta W = alpha / rank * up @ down.

    ``shifts`` are differences of vectors, by "LAYER.bias" or "LAYER.weight" (normalisation layers), (n,) float32.
    ``rank`` is the largest r; a layer of lower rank has the same scale.
    """

    weights: Mapping[str, Pair]
    alpha: float
    rank: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    shifts: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank


def make_adapter(base: Base, spec: TrainSpec, seed: int) -> Adapter:
    """Return an untrained LoRA: down as in kaiming_uniform(a=sqrt 5), up zero, so that it changes nothing yet (Hu et al. 2021, 4.1).

    Drawn from a generator of its own, layer after layer, text encoders (where the recipe trains them) last.
    Raises LabError("spec") for a rank above what the smallest layer can have.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Pair] = {}
    for path, layer in adapted_layers(base, spec.targets, text_encoder=spec.trains_text).items():
        limit = min(layer.weight.shape[0], layer.weight[0].numel())
        if spec.rank > limit:
            raise lab_error(
                "spec", f"rank {spec.rank} for {path}, a layer of shape {list(layer.weight.shape)}", f"a rank of at most {limit}"
            )
        shape = (spec.rank, *layer.weight.shape[1:])
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        down = (torch.rand(shape, generator=generator) * 2 - 1) * bound
        weights[path] = (down, torch.zeros(layer.weight.shape[0], spec.rank, *(1,) * (len(shape) - 2)))
    return Adapter(weights, float(spec.rank if spec.alpha is None else spec.alpha), spec.rank)


def adapter_sha256(adapter: Adapter) -> str:
    """Return the sha256 (hex) over paths, shapes and values."""
    digest = hashlib.sha256(f"{adapter.alpha} {adapter.rank}".encode())
    for path, pair in sorted(adapter.weights.items()):
        for tensor in pair:
            digest.update(f"{path} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    for name, values in sorted(adapter.shifts.items()):
        digest.update(f"{name} {tuple(values.shape)}".encode())
        digest.update(values.detach().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()

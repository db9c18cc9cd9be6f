"""An adapter of any kind as the LoRA that changes the base alike: a layer's tensors and scale in, down and up out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from loralab.adapters.adapter import Adapter, Own, Pair, scaled_lora
from loralab.adapters.kinds import Kind, decomposed, kind_of
from loralab.adapters.layers import all_layers
from loralab.adapters.shapes import as_layer
from loralab.bases import Base

#: a layer's pair, its alpha and its scale
Found = tuple[Pair, float, float]


def as_lora(adapter: Adapter, base: Base) -> Adapter:
    """Return the LoRA that changes ``base`` as ``adapter`` does; a LoRA as it is."""
    own = adapter.own
    if own is None:
        return adapter
    if any("held_down" in factors for factors in own.factors.values()):
        return with_start_taken_off(adapter)
    layers, found, highest = all_layers(base), dict[str, Found](), 1
    for path, tensors in own.factors.items():
        kind, weight = kind_of(frozenset(tensors)), layers[path].weight
        assert kind is not None, path
        factors = {role: tensor.detach().double() for role, tensor in tensors.items()}
        scale = scale_of(kind, factors, own.alphas.get(path, 1.0))
        pair, scale = pair_and_scale(kind, factors, scale, weight)
        pair = as_layer(pair, tuple(weight.shape))
        found[path], highest = (pair, own.alphas.get(path, 1.0), scale), max(highest, len(pair[0]))
    return one_alpha(found, highest, adapter.metadata)


def with_start_taken_off(adapter: Adapter) -> Adapter:
    """Return the LoRA of twice the rank that is one in the weight's own directions, and takes its start off: s (B A - B0 A0)."""
    assert adapter.own is not None
    factors, alphas = adapter.own.factors, adapter.own.alphas
    weights = {path: beside_start(f["down"], f["up"], f["held_down"], f["held_up"], 0) for path, f in factors.items()}
    scales = {path: alphas[path] / len(f["down"]) for path, f in factors.items()}
    return replace(scaled_lora(weights, scales, 2 * adapter.alpha), metadata=adapter.metadata)


def beside_start(down: torch.Tensor, up: torch.Tensor, held_down: torch.Tensor, held_up: torch.Tensor, rank_of_down: int) -> Pair:
    """Return down [A; A - A0] and up [B - B0, B0] of the change B A - B0 A0; ``held_up`` is -B0, ``rank_of_down`` is the rank's place in A.

    (B - B0) A + B0 (A - A0) is small in each factor where training moved little. [B, -B0] [A; A0] is the same, but a difference of two
    large products, of which nothing is left once bfloat16 has rounded the factors.
    """
    return torch.cat([down, down - held_down], dim=rank_of_down), torch.cat([up + held_up, -held_up], dim=rank_of_down + 1)


def scale_of(kind: Kind, factors: Mapping[str, torch.Tensor], alpha: float) -> float:
    """Return alpha over what the kind divides it by; 1 where alpha is no scale."""
    rank = kind.rank(factors)
    return 1.0 if rank is None else alpha / rank


def pair_and_scale(kind: Kind, factors: Mapping[str, torch.Tensor], scale: float, weight: torch.Tensor) -> tuple[Pair, float]:
    """Return what a layer changes as down and up, and the scale of their product; DoRA's change has its scale in it."""
    pair = kind.pair(factors, weight)
    for role in ("magnitude", "row_magnitude"):
        if role in factors:
            down, up = (factor.flatten(1).double() for factor in as_layer(pair, tuple(weight.shape)))
            return decomposed((down, up), scale, factors[role], weight, of_rows=role == "row_magnitude"), 1.0
    return pair, scale


def one_alpha(found: Mapping[str, Found], rank: int, metadata: Mapping[str, str]) -> Adapter:
    """Return the LoRA with one alpha; where layers differ in their scale, the scales go into `up`."""
    scales = {(alpha, scale) for _, alpha, scale in found.values()}
    alpha, scale = next(iter(scales))
    if len(scales) == 1 and scale == alpha / rank:
        return Adapter({layer: pair for layer, (pair, _, _) in found.items()}, alpha, rank, dict(metadata))
    weights = {layer: (down, up * scale) for layer, ((down, up), _, scale) in found.items()}
    return Adapter(weights, float(rank), rank, dict(metadata))


def written_factors(own: Own, path: str) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a layer as a file holds them, by role."""
    alpha = {"alpha": torch.tensor(own.alphas[path])} if path in own.alphas else {}
    return {**own.factors[path], **alpha}

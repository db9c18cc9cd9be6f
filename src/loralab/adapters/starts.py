"""Where a training begins: a base, a recipe and a seed in, an untrained adapter out."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from loralab.adapters.adapter import Adapter, Own, scaled_lora
from loralab.adapters.blocks import check_blocks, rank_at
from loralab.adapters.layers import Layer, adapted_layers
from loralab.adapters.lora_starts import STARTS
from loralab.adapters.trainable import Asked, Known, row_of, trains
from loralab.bases import Base
from loralab.errors import lab_error
from loralab.spec.models import TrainSpec


def make_adapter(base: Base, spec: TrainSpec, seed: int, known: Known | None = None) -> Adapter:
    """Return an untrained adapter that changes nothing yet; a LoRA begins as its recipe's `start` says, other kinds as in LyCORIS.

    Drawn from a generator of its own, layer after layer, text encoders (where the recipe trains them) last. ``known`` is filled with what
    follows from the base alone, so that a stack's starts decompose each weight once.
    Raises LabError("spec") for a rank above what the smallest layer can have, and for blocks that nothing is trained in.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = trained_layers(base, spec)
    ranks = {path: rank_at(spec, path) for path in layers}
    if spec.algo == "lora":  # LoHa's product has any rank, and LoKr's factors are whole where theirs is too high
        for path, layer in layers.items():
            _check_rank(path, layer, ranks[path])
    if not spec.is_plain_lora:
        return _make_own(layers, ranks, spec, generator, {} if known is None else known)
    weights = {path: STARTS[spec.start](layer.weight, ranks[path], generator) for path, layer in layers.items()}
    return scaled_lora(weights, {path: spec.scale_of(rank) for path, rank in ranks.items()}, spec.file_alpha(max(ranks.values())))


def trained_layers(base: Base, spec: TrainSpec) -> dict[str, Layer]:
    """Return the layers that a recipe trains: those of its targets that its kind adapts and its blocks do not leave out."""
    layers = adapted_layers(base, spec.targets, text_encoder=spec.trains_text)
    layers = {path: layer for path, layer in layers.items() if trains(spec, path)}
    check_blocks(spec, layers, base.name)
    found = {path: layer for path, layer in layers.items() if rank_at(spec, path)}
    if not found:
        raise lab_error("spec", f"a recipe that trains no layer of {base.name}", "a block with a rank and a rate above 0")
    return found


def _check_rank(path: str, layer: Layer, rank: int) -> None:
    limit = min(layer.weight.shape[0], layer.weight[0].numel())
    if rank > limit:
        raise lab_error("spec", f"rank {rank} for {path}, a layer of shape {list(layer.weight.shape)}", f"a rank of at most {limit}")


def _make_own(layers: Mapping[str, Layer], ranks: Mapping[str, int], spec: TrainSpec, generator: torch.Generator, known: Known) -> Adapter:
    row = row_of(spec)
    asked = (Asked(path, layer.weight.detach(), ranks[path], spec, generator, known) for path, layer in layers.items())
    factors = {each.path: row.start(each) for each in asked}
    alphas = {path: _alpha(spec, ranks[path], factors[path]) for path in layers if row.scaled}
    highest = max(ranks.values())
    return Adapter({}, spec.file_alpha(highest), highest, own=Own(factors, alphas))


def _alpha(spec: TrainSpec, rank: int, tensors: Mapping[str, torch.Tensor]) -> float:
    """Return what a layer's file says: of a LoKr of two whole factors, which has no scale, the rank, as LyCORIS does."""
    return float(rank) if {"k1", "k2"} <= tensors.keys() else spec.file_alpha(rank)

"""Several LoRAs as one: adapters with their strengths in, the adapter that changes the base by the sum of their changes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from loralab.adapters.adapter import Adapter, Pair
from loralab.adapters.folding import as_lora
from loralab.adapters.layers import all_layers
from loralab.adapters.shapes import as_layer
from loralab.bases import Base
from loralab.bases.parts import is_text


class Part(NamedTuple):
    """One LoRA of several, its strength in the UNet and in the text encoders."""

    adapter: Adapter
    strength: float
    text_strength: float


def add_adapters(parts: Sequence[Part], base: Base, metadata: Mapping[str, str] | None = None) -> Adapter:
    """Return the LoRA whose delta W is the sum of strength * alpha / rank * up @ down over ``parts``.

    As loaders one behind another make it. Ranks add up: the factors stand side by side, each scale in its own `up`. Where a layer cannot
    have that many, the product itself stands in one factor and the identity in the other.
    """
    parts = [part._replace(adapter=as_lora(part.adapter, base)) for part in parts]
    shapes = {path: layer.weight.shape for path, layer in all_layers(base).items()}
    paths = dict.fromkeys(path for part in parts for path in part.adapter.weights)
    shifts = dict[str, torch.Tensor]()
    for part in parts:
        for name, values in part.adapter.shifts.items():
            moved = (part.text_strength if is_text(name) else part.strength) * values
            shifts[name] = shifts[name] + moved if name in shifts else moved
    weights = {path: pair for path in paths if (pair := _layer_sum(path, parts, tuple(shapes[path]))) is not None}
    rank = max((len(down) for down, _ in weights.values()), default=1)
    return Adapter(weights, float(rank), rank, dict(metadata or {}), shifts)


def _layer_sum(path: str, parts: Sequence[Part], shape: tuple[int, ...]) -> Pair | None:
    """Return (down (R, in[, k, k]), up (out, R[, 1, 1])) of one layer; None where no part at a strength but 0 adapts it."""
    downs, ups = [], []
    for part in parts:
        strength = part.text_strength if is_text(path) else part.strength
        if strength and path in part.adapter.weights:
            down, up = part.adapter.weights[path]
            downs.append(down.flatten(1))
            ups.append(up.flatten(1) * (strength * part.adapter.scale_of(path)))
    if not downs:
        return None
    return as_layer((torch.cat(downs), torch.cat(ups, dim=1)), shape)  # of (R, in) and (out, R)

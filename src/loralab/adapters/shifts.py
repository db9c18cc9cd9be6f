"""Changes of vectors beside a LoRA's matrices: biases, and the weights and biases of normalisation layers; files in, shifted forwards out.

LyCORIS (`diff_b`, `w_norm`, `b_norm`) trains these as plain differences, and ComfyUI loads them so: at strength s, v + s * difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F

from loralab.adapters.formats import FoundLayer
from loralab.adapters.header import Entry, read_tensors, shown
from loralab.adapters.layers import all_layers, is_norm, norm_layers
from loralab.bases import Base
from loralab.errors import lab_error

Shifts: TypeAlias = Mapping[str, torch.Tensor]
Forward: TypeAlias = Callable[..., torch.Tensor]
#: a tensor's role in a file -> which vector of its layer it changes
VECTORS = {"bias": "bias", "norm_bias": "bias", "norm_weight": "weight"}
#: and how it is written
ENDINGS = {("layer", "bias"): ".diff_b", ("norm", "bias"): ".b_norm", ("norm", "weight"): ".w_norm"}


def read_shifts(
    path: Path, file: Path, header: Mapping[str, Entry], layers: Sequence[FoundLayer], base: Base, start: int
) -> dict[str, torch.Tensor]:
    """Return the differences of vectors in a file by "LAYER.weight" or "LAYER.bias", (n,) float32; ``start`` is where its data begin.

    Raises LabError("model") where one is not as long as the vector that it changes.
    """
    sizes = sizes_of(base)
    names = {f"{layer.path}.{VECTORS[role]}": name for layer in layers for role, name in layer.shifts.items()}
    for own, name in names.items():
        if tuple(header[name].shape) != (sizes[own],):
            found = f"{shown(path.name)}: {shown(name)} has the shape {list(header[name].shape)}"
            raise lab_error("model", found, f"the shape {[sizes[own]]}", "was it trained on another base?")
    values = read_tensors(file, {name: header[name] for name in names.values()}, start)
    return {own: values[name] for own, name in sorted(names.items())}


def sizes_of(base: Base) -> dict[str, int]:
    """Return how long each vector of ``base`` is that may be changed; a layer without a bias may be given one."""
    layers = {f"{path}.bias": len(layer.weight) for path, layer in all_layers(base).items()}
    norms = {path: len(layer.weight) for path, layer in norm_layers(base).items()}
    return layers | {f"{path}.{name}": n for path, n in norms.items() for name in ("weight", "bias")}


def written(shifts: Shifts, key: Callable[[str], str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name; ``key`` is how files call a layer."""
    found = {}
    for name, values in shifts.items():
        path, _, vector = name.rpartition(".")
        found[key(path) + ENDINGS["norm" if is_norm(path) else "layer", vector]] = values
    return found


def shifted(base: Base, adapters: Sequence[Shifts], strengths: Sequence[float]) -> Iterator[tuple[torch.nn.Module, Forward]]:
    """Yield the layers that K adapters shift at their strengths, each with its forward for K groups; others' groups stay bit for bit."""
    modules = {**all_layers(base), **norm_layers(base)}
    for path in dict.fromkeys(name.rpartition(".")[0] for shifts in adapters for name in shifts):
        moved = [_moved(path, shifts, strength, base) for shifts, strength in zip(adapters, strengths, strict=True)]
        if any(moved):
            yield modules[path], _forward(modules[path], modules[path].forward, moved)


def _moved(path: str, shifts: Shifts, strength: float, base: Base) -> dict[str, torch.Tensor]:
    vectors = {vector: shifts[f"{path}.{vector}"] for vector in ("weight", "bias") if f"{path}.{vector}" in shifts and strength}
    return {vector: strength * values.to(base.device) for vector, values in vectors.items()}


def _forward(layer: torch.nn.Module, plain: Forward, moved: Sequence[Mapping[str, torch.Tensor]]) -> Forward:
    def forward(x: torch.Tensor, *rest: object) -> torch.Tensor:
        y = plain(x, *rest)
        parts = zip(x.chunk(len(moved)), y.chunk(len(moved)), moved, strict=True)
        return torch.cat([_add(layer, inputs, outputs, own) if own else outputs for inputs, outputs, own in parts])

    return forward


def _add(layer: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, moved: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the outputs of a group with what its vectors add."""
    is_last = isinstance(layer, torch.nn.Linear | torch.nn.LayerNorm)
    shape = (-1,) if is_last else (-1, *(1,) * (y.ndim - 2))
    if "weight" in moved:
        y = y + _normed(layer, x) * moved["weight"].to(y.dtype).reshape(shape)
    return y + moved["bias"].to(y.dtype).reshape(shape) if "bias" in moved else y


def _normed(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, torch.nn.GroupNorm):
        return F.group_norm(x, layer.num_groups, eps=layer.eps)
    assert isinstance(layer, torch.nn.LayerNorm)
    return F.layer_norm(x, layer.normalized_shape, eps=layer.eps)

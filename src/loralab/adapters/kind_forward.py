"""How a layer computes with a stack of another kind than a LoRA: its tensors (K, ...) and what is dropped in, its forward out.

All of it is arithmetic of each group alone. LyCORIS adds `op(x, W' - W)`; so does this, in whatever order costs least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from loralab.adapters.folding import beside_start
from loralab.adapters.kinds import EPSILON
from loralab.adapters.layers import Layer
from loralab.adapters.stack import Drops, Forward, Groups, StackedPair, forward_of
from loralab.adapters.trainable import IA3_ON_INPUT, Stacked, Trainable


@dataclass(frozen=True)
class KindLayer:
    """One layer of a stack: its tensors by role (K, ...), and the scale (K, 1, 1) of its change."""

    path: str
    layer: Layer
    row: Trainable
    tensors: Stacked
    scale: torch.Tensor
    constant_norm: bool = False  # no gradient through DoRA's norm

    @property
    def weight(self) -> torch.Tensor:
        """The base's weight (out, in * k * k), float32."""
        return self.layer.weight.flatten(1).float()

    @property
    def decomposes(self) -> bool:
        """Whether it is DoRA's."""
        return "magnitude" in self.tensors


def kind_forward(own: KindLayer, drops: Drops | None) -> Forward:
    """Return the layer's forward; ``drops`` say what is left out of this step."""
    kept = torch.tensor([1.0] * len(own.scale) if drops is None else drops.layers(own.path), device=own.scale.device)
    rows = None if drops is None else drops.rows(own.path, len(own.layer.weight)).to(own.scale.device)
    if "factor" in own.tensors:
        return lambda x: _channels(x, own, kept)
    if own.row.change is not None:
        return lambda x: _added(x, own, _dense(own, kept, rows))
    if own.decomposes:
        return lambda x: _decomposed(x, own, kept, rows)
    return forward_of(_with_start(own), Groups(own.scale, []))


# --- a change that is multiplied out ------------------------------------------------------------------------------------------------


def _dense(own: KindLayer, kept: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """Return the change of the weight (K, out, in * k * k)."""
    assert own.row.change is not None
    change = own.row.change(own.tensors) * own.scale
    if rows is not None:
        change = change * rows[:, :, None]
    if own.decomposes:
        moved = own.weight + change
        norms = moved.norm(dim=2) + EPSILON
        ratio = own.tensors["magnitude"].flatten(1) / (norms.detach() if own.constant_norm else norms)
        change = moved * ratio[:, :, None] - own.weight
    return change * kept[:, None, None]


def _added(x: torch.Tensor, own: KindLayer, change: torch.Tensor) -> torch.Tensor:
    """Return the layer's outputs with those of each group's change (K, out, in * k * k)."""
    layer, k, change = own.layer, len(change), change.to(x.dtype)
    if isinstance(layer, torch.nn.Linear):
        y = F.linear(x, layer.weight, layer.bias)
        stacked = x.reshape(k, -1, x.shape[-1])
        return torch.baddbmm(y.reshape(k, -1, y.shape[-1]), stacked, change.transpose(1, 2)).reshape(y.shape)
    y = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
    if layer.kernel_size == (1, 1) and layer.stride == (1, 1):
        return y + (change[:, None] @ x.reshape(k, -1, x.shape[1], x.shape[2] * x.shape[3])).reshape(y.shape)
    side_by_side = x.reshape(k, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)  # (B, K*in, H, W)
    kernels = change.reshape(-1, *layer.weight.shape[1:])
    found = F.conv2d(side_by_side, kernels, None, layer.stride, layer.padding, layer.dilation, groups=k)  # type: ignore[arg-type]
    return y + found.unflatten(1, (k, -1)).transpose(0, 1).reshape(y.shape)


# --- DoRA of a LoRA -----------------------------------------------------------------------------------------------------------------


def _decomposed(x: torch.Tensor, own: KindLayer, kept: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """Return the outputs of (W + s B A) m / ||W + s B A|| (Liu et al. 2024, arXiv:2402.09353), without multiplying B A out."""
    down, up = own.tensors["down"], own.tensors["up"].flatten(2)
    up = up if rows is None else up * rows[:, :, None]
    norms = _norms(own, down.flatten(2), up)
    ratio = own.tensors["magnitude"].flatten(1) / (norms.detach() if own.constant_norm else norms)
    beyond = kept[:, None] * (ratio - 1)  # a layer that is left out is the base's
    pair = StackedPair(own.path, own.layer, down, up)
    moved = forward_of(pair, Groups(own.scale * kept[:, None, None], []))(x)
    return _with_more(moved, beyond, own.layer)


def _norms(own: KindLayer, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return the norms of the rows of W + s B A (K, out): |W|^2 + 2 s (W A^T) . B + s^2 (B A A^T) . B."""
    weight, scale = own.weight, own.scale
    crossed = (weight @ down.transpose(1, 2) * up).sum(dim=2)
    squares = (up @ (down @ down.transpose(1, 2)) * up).sum(dim=2)
    total = weight.square().sum(dim=1) + scale[:, 0] * (2 * crossed + scale[:, 0] * squares)
    return total.clamp(min=0).sqrt() + EPSILON


def _with_more(y: torch.Tensor, beyond: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Return outputs (K*B, ..., out) or (K*B, out, H, W) times 1 + ``beyond`` (K, out), the bias left as it is.

    What is beyond 1 is added: as a number of y's own type 1 + beyond would be 1, since bfloat16 has none between 1 and 1.0078.
    """
    k, is_last = len(beyond), isinstance(layer, torch.nn.Linear)
    grouped = y.unflatten(0, (k, -1))
    channels = (-1,) if is_last else (-1, *(1,) * (y.ndim - 2))
    share = beyond.to(y.dtype).reshape(k, *(1,) * (grouped.ndim - 2), -1) if is_last else beyond.to(y.dtype)[:, None, :, None, None]
    unbiased = grouped if layer.bias is None else grouped - layer.bias.reshape(channels)
    return (grouped + unbiased * share).reshape(y.shape)


# --- a LoRA in the weight's own directions, (IA)3 -----------------------------------------------------------------------------------


def _with_start(own: KindLayer) -> StackedPair:
    """Return the pair of what is trained and of the start that is taken off."""
    f = own.tensors
    down, up = beside_start(f["down"], f["up"], f["held_down"], f["held_up"], 1)
    return StackedPair(own.path, own.layer, down, up.flatten(2))


def _channels(x: torch.Tensor, own: KindLayer, kept: torch.Tensor) -> torch.Tensor:
    """Return (IA)3's outputs: each output, or each input, times 1 + its number (Liu et al. 2022, arXiv:2205.05638)."""
    layer = own.layer
    assert isinstance(layer, torch.nn.Linear)
    numbers = own.tensors["factor"] * kept[:, None]
    if not own.path.endswith(IA3_ON_INPUT):
        return _with_more(F.linear(x, layer.weight, layer.bias), numbers, layer)
    grouped = x.unflatten(0, (len(numbers), -1))
    more = grouped * numbers.to(x.dtype).reshape(len(numbers), *(1,) * (grouped.ndim - 2), -1)  # beside 1, as in _with_more
    return F.linear(x, layer.weight, layer.bias) + F.linear(more.reshape(x.shape), layer.weight)

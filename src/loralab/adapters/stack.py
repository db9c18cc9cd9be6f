"""K adapters over one frozen base: inputs come stacked as K groups, each adapted layer adds each group's own low-rank product.

Inside `attached()`, the denoiser takes a batch of K groups of B, group-major (K*B, ...), and so do the text encoders that an adapter
touches. One product with the frozen weight serves all groups, one batched product the low-rank parts. A single adapter is a stack of
one; the base itself is the group without an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from loralab.adapters.adapter import Adapter
from loralab.adapters.flat import FlatValues
from loralab.adapters.folding import as_lora
from loralab.adapters.layers import Layer, all_layers
from loralab.adapters.shifts import Shifts, shifted
from loralab.bases import Base
from loralab.bases.parts import is_text
from loralab.errors import lab_error

Forward = Callable[..., torch.Tensor]


class Drops(Protocol):
    """What is left out of K adapters at one step of their training, layer by layer."""

    def layers(self, path: str) -> list[float]: ...  # K: 0 where a group's adapter is left out, else 1
    def inner(self, path: str, shape: tuple[int, int], ranks: Sequence[int]) -> torch.Tensor: ...  # shape (B, T) -> (K, B, T, R)
    def rows(self, path: str, n_out: int) -> torch.Tensor: ...  # (K, out)


@dataclass
class StackedPair:
    """One layer's factors of all K adapters, ranks padded with zeros: down (K, R, in...), up (K, out, R); ``ranks`` without padding."""

    path: str
    layer: Layer
    down: torch.Tensor
    up: torch.Tensor
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Groups:
    """What the K groups add: ``scale`` (K, 1, 1) = strength * alpha / rank, and which groups are ``silent`` (scale 0).

    Inside a layer's forward the scale may be (K, B * T, R): what is dropped there counts 0.
    """

    scale: torch.Tensor
    silent: list[int]
    drops: Drops | None = None

    def sum(self, y: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """Return ``total`` (K*B, ...) in which the silent groups are the base's ``y`` bit for bit.

        y + 0 * z is not: it turns -0.0 into 0.0, and is NaN where z is infinite.
        """
        if self.silent:
            groups = (len(self.scale), -1)
            total.unflatten(0, groups)[self.silent] = y.unflatten(0, groups)[self.silent]
        return total

    def inner(self, pair: StackedPair, n: int, places: int) -> torch.Tensor:
        """Return the scale of every inner value (K, B, T, R) of a layer that sees ``n`` inputs of so many places."""
        assert self.drops is not None
        shape = (n // len(self.scale), places)
        return self.scale[:, None] * self.drops.inner(pair.path, shape, pair.ranks).to(self.scale)


class AdapterStack:
    """K adapters (None = the base itself) over ``base``; values live in one flat (K, P) tensor, of which the factors are views."""

    def __init__(self, base: Base, adapters: Sequence[Adapter | None], *, trainable: bool = False) -> None:
        if not adapters:
            raise lab_error("model", "an empty stack", "at least one adapter, or None for the base")
        adapters = [None if adapter is None else as_lora(adapter, base) for adapter in adapters]
        self.base, self.trainable = base, trainable
        self.ranks = [adapter.rank if adapter else 0 for adapter in adapters]
        self.alphas = [adapter.alpha if adapter else 0.0 for adapter in adapters]
        self.scales = [adapter.scales if adapter else {} for adapter in adapters]
        self.shifts: list[Shifts] = [adapter.shifts if adapter else {} for adapter in adapters]
        if trainable and any(self.shifts):
            raise lab_error("model", "a LoRA that changes biases or normalisation layers", "a LoRA of factors alone, to be trained further")
        self.layer_ranks = [{path: len(down) for path, (down, _) in adapter.weights.items()} if adapter else {} for adapter in adapters]
        layers = layers_of(base, adapters)
        self.values = self._make_values(layers)
        self.flat = self.values.flat
        ranks = {path: tuple(ranks.get(path, 0) for ranks in self.layer_ranks) for path in layers}
        leaves = zip(self.values.leaves[::2], self.values.leaves[1::2], strict=True)
        self.pairs = [StackedPair(path, layer, *pair, ranks[path]) for (path, layer), pair in zip(layers.items(), leaves, strict=True)]
        self._fill(adapters)

    @property
    def n_groups(self) -> int:
        """K."""
        return len(self.ranks)

    @property
    def columns(self) -> list[tuple[slice, tuple[int, ...]]]:
        """Where each factor lies among the P values, and its shape as files have it: down (R, in[, k, k]), up (out, R[, 1, 1])."""
        shapes = [tuple(factor.shape[1:]) for factor in self.parameters()]
        for index, pair in enumerate(self.pairs):
            shapes[2 * index + 1] += (1,) * (pair.down.ndim - 3)
        return list(zip(self.values.places, shapes, strict=True))

    def _make_values(self, layers: dict[str, Layer]) -> FlatValues:
        """Return zeros for all factors, each layer's at its highest rank."""
        highest = {path: max(ranks.get(path, 0) for ranks in self.layer_ranks) for path in layers}
        names = [(path, role) for path in layers for role in ("down", "up")]
        shapes: list[tuple[int, ...]] = []
        for path, layer in layers.items():
            shapes += [(highest[path], *layer.weight.shape[1:]), (layer.weight.shape[0], highest[path])]
        return FlatValues(names, shapes, self.n_groups, self.base.device, trainable=self.trainable)

    @torch.no_grad()
    def _fill(self, adapters: Sequence[Adapter | None]) -> None:
        for pair in self.pairs:
            for k, adapter in enumerate(adapters):
                if adapter is not None and pair.path in adapter.weights:
                    down, up = adapter.weights[pair.path]
                    pair.down[k, : len(down)] = down
                    pair.up[k, :, : len(down)] = up.flatten(1)

    def parameters(self) -> list[torch.Tensor]:
        """Return the stacked factors: (K, R, in...) and (K, out, R) for each layer."""
        return self.values.leaves

    def adapters(self) -> list[Adapter | None]:
        """Return copies of the K adapters as they are now, padding taken off."""
        return [self._adapter(k) for k in range(self.n_groups)]

    def _adapter(self, k: int) -> Adapter | None:
        if self.ranks[k] == 0:
            return None
        weights = {}
        for pair in self.pairs:
            if rank := self.layer_ranks[k].get(pair.path):
                down = pair.down[k, :rank].detach().clone().contiguous()
                up = pair.up[k, :, :rank].detach().clone().contiguous()
                weights[pair.path] = (down, up[:, :, None, None] if down.ndim == 4 else up)
        return Adapter(weights, self.alphas[k], self.ranks[k], shifts=self.shifts[k], scales=self.scales[k])

    @contextmanager
    def attached(self, strengths: Sequence[float] | None = None, drops: Drops | None = None) -> Iterator[None]:
        """Attach the stack to the base for the block, each adapter at its strength (default 1); the base is as before afterwards.

        ``drops`` say what is left out of a step of training.
        """
        factors = [1.0] * self.n_groups if strengths is None else list(strengths)
        if len(factors) != self.n_groups:
            raise lab_error("model", f"{len(factors)} strengths for a stack of {self.n_groups}", "one for each adapter")
        scales = [s * alpha / rank if rank else 0.0 for s, alpha, rank in zip(factors, self.alphas, self.ranks, strict=True)]
        if not self.trainable and not any(scales):
            yield  # nothing to add: the base alone
            return
        groups = self._groups(scales)
        same = drops is None and not any(self.scales)
        forwards = [(pair.layer, forward_of(pair, groups if same else self._groups_at(pair.path, factors, drops))) for pair in self.pairs]
        with replaced([*forwards, *shifted(self.base, self.shifts, factors)]):
            yield

    def _groups(self, scales: Sequence[float], drops: Drops | None = None) -> Groups:
        held = torch.tensor(scales, device=self.base.device)[:, None, None]
        return Groups(held, [k for k, scale in enumerate(scales) if scale == 0], drops)

    def _groups_at(self, path: str, strengths: Sequence[float], drops: Drops | None) -> Groups:
        """Return what the groups add at one layer, where layers differ."""
        kept = [1.0] * self.n_groups if drops is None else drops.layers(path)
        usual = [alpha / rank if rank else 0.0 for alpha, rank in zip(self.alphas, self.ranks, strict=True)]
        scales = [own.get(path, scale) for own, scale in zip(self.scales, usual, strict=True)]
        return self._groups([s * keep * scale for s, keep, scale in zip(strengths, kept, scales, strict=True)], drops)


class _StackedLinear(torch.autograd.Function):
    """A linear layer for stacked groups, x W^T + b + scale_k (x D_k^T) U_k^T, with the gradients for x, D and U written out.

    The same products as autograd's own, but the low-rank parts are added into the large tensors where those lie, forward and backward:
    autograd would write each sum into a new one, which costs more than the products themselves.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: Groups
    ) -> torch.Tensor:
        k = len(down)
        y = F.linear(x, weight, bias)  # (K*B, ..., out)
        stacked, total = x.reshape(k, -1, x.shape[-1]), y.view(k, -1, y.shape[-1])
        low = torch.bmm(stacked, down.transpose(1, 2)) * groups.scale.to(x.dtype)  # (K, B*T, R)
        wide = up.transpose(1, 2).contiguous()  # (K, R, out): with R last, these products take up to six times as long
        base = total[groups.silent] if groups.silent else None
        total.baddbmm_(low, wide)
        if base is not None:  # y + 0 * z is not y: it turns -0.0 into 0.0, and is NaN where z is infinite
            total[groups.silent] = base
        ctx.save_for_backward(stacked, down, wide, weight, low)
        ctx.groups, ctx.shape = groups, x.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        stacked, down, wide, weight, low = ctx.saved_tensors
        for_y = gradient.reshape(len(down), -1, gradient.shape[-1])  # (K, B*T, out)
        for_low = torch.bmm(for_y, wide.transpose(1, 2)) * ctx.groups.scale.to(low.dtype)  # (K, B*T, R)
        for_down = torch.bmm(for_low.transpose(1, 2), stacked) if ctx.needs_input_grad[1] else None
        for_up = torch.bmm(low.transpose(1, 2), for_y).transpose(1, 2) if ctx.needs_input_grad[2] else None
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = for_y @ weight
            for_x.baddbmm_(for_low, down)
            for_x = for_x.view(ctx.shape)
        return for_x, for_down, for_up, None, None, None


@contextmanager
def replaced(forwards: Sequence[tuple[torch.nn.Module, Forward]]) -> Iterator[None]:
    """Give layers other forwards for the block, the later over the earlier; each has what it had afterwards."""
    before = list[tuple[torch.nn.Module, Any]]()
    try:
        for layer, forward in forwards:
            before.append((layer, layer.__dict__.get("forward")))
            layer.forward = forward
        yield
    finally:
        for layer, own in reversed(before):
            layer.__dict__.pop("forward", None)
            if own is not None:  # another stack's, inside whose block this one was attached, or that of this layer's factors
                layer.forward = own


def layers_of(base: Base, adapters: Sequence[Adapter | None]) -> dict[str, Layer]:
    """Return the layers that any of the adapters touches, in the order of the model; raises LabError("model") for a path that is none."""
    wanted = {path for adapter in adapters if adapter for path in adapter.layers}
    layers = all_layers(base)
    strangers = sorted(wanted - layers.keys())
    if strangers:
        raise lab_error("model", f"the LoRA has weights for {', '.join(strangers[:5])}", f"layers that exist in {base.name}")
    return {path: layer for path, layer in layers.items() if path in wanted}


def adapts_text(adapter: Adapter | None) -> bool:
    """Return whether an adapter changes what prompts mean, so that embeddings of the base are not its own."""
    return adapter is not None and any(is_text(path) for path in (*adapter.layers, *adapter.shifts))


def forward_of(pair: StackedPair, groups: Groups) -> Forward:
    """Return the layer's forward for stacked groups."""
    layer = pair.layer
    if isinstance(layer, torch.nn.Linear):
        return lambda x: _linear(x, layer, pair, groups)
    if layer.kernel_size == (1, 1) and layer.stride == (1, 1):
        return lambda x: _pointwise(x, layer, pair, groups)
    return lambda x: _convolution(x, layer, pair, groups)


def _like(x: torch.Tensor, pair: StackedPair) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factors in the type of ``x``: they are held, and learn, in float32 whatever the base is held in."""
    return pair.down.to(x.dtype), pair.up.to(x.dtype)


def _linear(x: torch.Tensor, layer: torch.nn.Linear, pair: StackedPair, groups: Groups) -> torch.Tensor:
    if groups.drops is not None:
        scale = groups.inner(pair, len(x), x[0].numel() // x.shape[-1])
        groups = Groups(scale.flatten(1, 2), groups.silent)
    found: torch.Tensor = _StackedLinear.apply(x, *_like(x, pair), layer.weight, layer.bias, groups)
    return found


def _maps_scale(pair: StackedPair, groups: Groups, y: torch.Tensor) -> torch.Tensor:
    """Return the scale of inner values that are maps (K, B, R, HW), of the size of ``y`` (K*B, out, H, W)."""
    if groups.drops is None:
        return groups.scale[:, None]
    return groups.inner(pair, len(y), y.shape[2] * y.shape[3]).transpose(2, 3)


def _pointwise(x: torch.Tensor, layer: torch.nn.Conv2d, pair: StackedPair, groups: Groups) -> torch.Tensor:
    y = F.conv2d(x, layer.weight, layer.bias)  # (K*B, out, H, W)
    k = len(groups.scale)
    stacked = x.reshape(k, -1, x.shape[1], x.shape[2] * x.shape[3])  # (K, B, in, HW)
    down, up = _like(x, pair)
    low = (down.flatten(2)[:, None] @ stacked) * _maps_scale(pair, groups, y).to(x.dtype)  # (K, B, R, HW)
    return groups.sum(y, y + (up[:, None] @ low).reshape(y.shape))


def _convolution(x: torch.Tensor, layer: torch.nn.Conv2d, pair: StackedPair, groups: Groups) -> torch.Tensor:
    y = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)  # type: ignore[arg-type]
    k = len(groups.scale)
    side_by_side = x.reshape(k, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)  # (B, K*in, H, W)
    down, up = _like(x, pair)
    low = F.conv2d(side_by_side, down.flatten(0, 1), None, layer.stride, layer.padding, layer.dilation, groups=k)  # type: ignore[arg-type]
    low = low.reshape(len(low), k, -1, y.shape[2] * y.shape[3]).transpose(0, 1)  # (K, B, R, HW)
    return groups.sum(y, y + (up[:, None] @ (low * _maps_scale(pair, groups, y).to(x.dtype))).reshape(y.shape))

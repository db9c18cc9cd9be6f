"""A LoRA over one layer as sd-scripts' own (networks/lora.py) computes it, written anew: a layer and its factors in, its forward out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F

Masked = Callable[[str, torch.Tensor], torch.Tensor]


class PlainLora:
    """A LoRA put over ``layer``; ``masked`` changes its inner values (B, ..., R) or (B, R, H, W), ``left_out`` tells whether it counts."""

    def __init__(self, path: str, layer: torch.nn.Module, down: torch.Tensor, up: torch.Tensor, scale: float) -> None:
        self.path, self.layer, self.scale = path, layer, scale
        self.down, self.up = (torch.nn.Parameter(factor.clone()) for factor in (down, up))
        self.masked: Masked = lambda path, low: low
        self.left_out: Callable[[str], bool] = lambda path: False
        plain = layer.forward

        def forward(x: torch.Tensor) -> torch.Tensor:
            y = plain(x)
            return y if self.left_out(path) else y + self._up(self.masked(path, self._down(x))) * self.scale

        layer.forward = forward

    def _down(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.layer, torch.nn.Linear):
            return F.linear(x, self.down)
        return F.conv2d(x, self.down, None, self.layer.stride, self.layer.padding)

    def _up(self, low: torch.Tensor) -> torch.Tensor:
        return F.linear(low, self.up) if isinstance(self.layer, torch.nn.Linear) else F.conv2d(low, self.up)

    @torch.no_grad()
    def limit(self, most: float) -> bool:
        """Scale both factors down where the change is longer than ``most``; returns whether it was."""
        change = self.scale * self.up.flatten(1) @ self.down.flatten(1)
        ratio = min(1.0, most / float(change.norm()))
        for factor in (self.down, self.up):
            factor.mul_(ratio**0.5)
        return ratio < 1


def parameters_of(loras: Iterable[PlainLora]) -> list[torch.nn.Parameter]:
    """Return all factors, down and up in turn."""
    return [factor for lora in loras for factor in (lora.down, lora.up)]

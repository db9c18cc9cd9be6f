"""The random starts of a LoRA's two factors: a layer's weight, a rank and a generator in, down and up out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from loralab.adapters.adapter import Pair

#: PEFT divides the factors of an orthogonal start by this (tuners/lora/layer.py, orthogonal_init)
ORTHOGONAL_DIVISOR = 10.0


def _kaiming(weight: torch.Tensor, rank: int, generator: torch.Generator) -> Pair:
    """Down as in kaiming_uniform(a=sqrt 5), up zero (Hu et al. 2021, 4.1)."""
    shape = (rank, *weight.shape[1:])
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    down = (torch.rand(shape, generator=generator) * 2 - 1) * bound
    return down, torch.zeros(weight.shape[0], rank, *(1,) * (len(shape) - 2))


def _orthogonal(weight: torch.Tensor, rank: int, generator: torch.Generator) -> Pair:
    """Down and up in the even and the odd rows of a random rotation: their product is 0 though neither is (PEFT, orthogonal_init)."""
    turned, _ = torch.linalg.qr(torch.randn(rank, rank, generator=generator))
    n_out, n_in = len(weight), weight[0].numel()
    down = (torch.randn(n_in, rank // 2, generator=generator) @ turned[0::2]).T / ORTHOGONAL_DIVISOR
    up = torch.randn(rank // 2, n_out, generator=generator).T @ turned[1::2] / ORTHOGONAL_DIVISOR
    return down.contiguous().reshape(rank, *weight.shape[1:]), up.reshape(n_out, rank, *(1,) * (weight.ndim - 2))


#: start in a study file -> (weight, rank, generator) -> down (r, in[, k, k]), up (out, r[, 1, 1])
STARTS: Mapping[str, Callable[[torch.Tensor, int, torch.Generator], Pair]] = {"kaiming": _kaiming, "orthogonal": _orthogonal}

"""Tensors held against each other."""

from __future__ import annotations

import torch


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether two float32 tensors are equal bit for bit, the sign of zeros and every NaN included."""
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))

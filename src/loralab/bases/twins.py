"""Twins of a base: modules of their own around the same tensors, so that two threads can each attach something to theirs."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import torch

from loralab.bases.base import Base

MODELS = ("unet", "text_encoder", "text_encoder_2", "vae")


def structural_twin(base: Base) -> Base:
    """Return the base with copies of its modules that hold the same tensors: what is attached to one reaches no other."""
    parts: dict[str, Any] = {name: getattr(base, name) for name in MODELS}
    twins: dict[str, Any] = {name: None if part is None else _with_same_tensors(part) for name, part in parts.items()}
    return replace(base, **twins)


def _with_same_tensors(model: torch.nn.Module) -> torch.nn.Module:
    kept: dict[int, object] = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, kept)

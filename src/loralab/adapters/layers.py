"""Which layers of a base a LoRA adapts, and what files call them; the base's family knows: the base in, module paths and layers out."""

from __future__ import annotations

from typing import TypeAlias

import torch

from loralab.bases import Base, family_of

Layer: TypeAlias = torch.nn.Linear | torch.nn.Conv2d
Norm: TypeAlias = torch.nn.GroupNorm | torch.nn.LayerNorm


def adapted_layers(base: Base, targets: str, *, text_encoder: bool = False) -> dict[str, Layer]:
    """Return the layers that are trained, by path ("PART.path.inside"), in the order of the model, text encoders last.

    Raises LabError("model") where a part has none: nothing would be trained.
    """
    return family_of(base).adapted_layers(base, targets, text_encoder=text_encoder)


def all_layers(base: Base) -> dict[str, Layer]:
    """Return every layer that a LoRA from elsewhere may adapt, by path."""
    return family_of(base).all_layers(base)


def norm_layers(base: Base) -> dict[str, Norm]:
    """Return every normalisation layer whose vectors a file may change, by path."""
    return {
        f"{name}.{inner}": layer
        for name, part in family_of(base).adaptable_parts(base).items()
        for inner, layer in part.named_modules()
        if isinstance(layer, torch.nn.GroupNorm | torch.nn.LayerNorm) and layer.weight is not None
    }


def is_norm(path: str) -> bool:
    """Return whether a path is that of a normalisation layer, as SD's models call theirs: the last word tells."""
    return "norm" in path.rpartition(".")[2]


def spellings(base: Base) -> dict[str, str]:
    """Return the path of each layer by every name that adapter files give it."""
    return family_of(base).spellings(base)

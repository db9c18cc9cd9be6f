"""Which layers of a base a LoRA adapts, and what files call them; the base's family knows: the base in, module paths and layers out."""

from __future__ import annotations

from typing import TypeAlias

import torch

from loralab.bases import Base, family_of

Layer: TypeAlias = torch.nn.Linear | torch.nn.Conv2d


def adapted_layers(base: Base, targets: str, *, text_encoder: bool = False) -> dict[str, Layer]:
    """Return the layers that are trained, by path ("PART.path.inside"), in the order of the model, text encoders last.

    Raises LabError("model") where a part has none: nothing would be trained.
    """
    return family_of(base).adapted_layers(base, targets, text_encoder=text_encoder)


def all_layers(base: Base) -> dict[str, Layer]:
    """Return every layer that a LoRA from elsewhere may adapt, by path."""
    return family_of(base).all_layers(base)


def spellings(base: Base) -> dict[str, str]:
    """Return the path of each layer by every name that adapter files give it."""
    return family_of(base).spellings(base)

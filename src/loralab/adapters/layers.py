"""Which layers of a base a LoRA adapts: the base and a target set in, module paths and layers out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPAttention

from loralab.bases import Base
from loralab.errors import lab_error

Layer: TypeAlias = torch.nn.Linear | torch.nn.Conv2d

#: what kohya-ss/sd-scripts adapts (networks/lora.py: UNET_TARGET_REPLACE_MODULE, and its _CONV2D_3X3 for LoCon)
TARGET_CLASSES: dict[str, tuple[type[torch.nn.Module], ...]] = {
    "transformer": (Transformer2DModel,),
    "transformer+conv": (Transformer2DModel, ResnetBlock2D, Downsample2D, Upsample2D),
}
#: and in text encoders (its TEXT_ENCODER_TARGET_REPLACE_MODULE)
TEXT_CLASSES: tuple[type[torch.nn.Module], ...] = (CLIPAttention, CLIPMLP)
TEXT_PARTS = ("text_encoder", "text_encoder_2")


def parts_of(base: Base) -> dict[str, torch.nn.Module]:
    """Return the modules of a base that a LoRA can adapt, by the first word of their layers' paths."""
    named = {name: getattr(base, name, None) for name in ("unet", *TEXT_PARTS)}
    return {name: module for name, module in named.items() if module is not None}


def adapted_layers(base: Base, targets: str, *, text_encoder: bool = False) -> dict[str, Layer]:
    """Return the layers that are trained, by path ("unet.down_blocks.0. ..."), in the order of the model, text encoders last.

    Raises LabError("model") where a part has none: nothing would be trained.
    """
    layers = dict(_layers("unet", base.unet, TARGET_CLASSES[targets]))
    if not layers:
        raise lab_error("model", f"no layer of {base.name} matches targets: {targets}", "a UNet with transformer blocks")
    if not text_encoder:
        return layers
    text = {path: layer for name, part in parts_of(base).items() if name in TEXT_PARTS for path, layer in _layers(name, part, TEXT_CLASSES)}
    if not text:
        raise lab_error("model", f"the text encoder of {base.name} has no layer to train", "CLIP's attention and MLP blocks")
    return layers | text


def all_layers(base: Base) -> dict[str, Layer]:
    """Return every layer that a LoRA from elsewhere may adapt, by path."""
    return {
        f"{name}.{inner}": layer
        for name, part in parts_of(base).items()
        for inner, layer in part.named_modules()
        if isinstance(layer, torch.nn.Linear) or (isinstance(layer, torch.nn.Conv2d) and layer.groups == 1)
    }


def _layers(name: str, part: torch.nn.Module, containers: tuple[type[torch.nn.Module], ...]) -> Iterator[tuple[str, Layer]]:
    for path, container in part.named_modules():
        if isinstance(container, containers):
            for inner, layer in container.named_modules():
                if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                    yield f"{name}.{path}.{inner}", layer

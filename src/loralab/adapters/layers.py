"""Which layers of a base a LoRA adapts: the base and a target set in, module paths and layers out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D

from loralab.bases import Base
from loralab.errors import lab_error

#: what kohya-ss/sd-scripts adapts (networks/lora.py: UNET_TARGET_REPLACE_MODULE, and its _CONV2D_3X3 for LoCon)
TARGET_CLASSES: dict[str, tuple[type[torch.nn.Module], ...]] = {
    "transformer": (Transformer2DModel,),
    "transformer+conv": (Transformer2DModel, ResnetBlock2D, Downsample2D, Upsample2D),
}


def adapted_layers(base: Base, targets: str) -> dict[str, torch.nn.Linear | torch.nn.Conv2d]:
    """Return the layers that ``targets`` names, by path ("unet.down_blocks.0. ..."), in the order of the model.

    Raises LabError("model") where the base has none: nothing would be trained.
    """
    layers = dict(_layers(base.unet, TARGET_CLASSES[targets]))
    if not layers:
        raise lab_error("model", f"no layer of {base.name} matches targets: {targets}", "a UNet with transformer blocks")
    return layers


def _layers(
    unet: torch.nn.Module, containers: tuple[type[torch.nn.Module], ...]
) -> Iterator[tuple[str, torch.nn.Linear | torch.nn.Conv2d]]:
    for path, container in unet.named_modules():
        if isinstance(container, containers):
            for inner, layer in container.named_modules():
                if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                    yield f"unet.{path}.{inner}", layer

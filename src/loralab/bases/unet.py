"""What the families with a U-Net share: repetition of texts, the U-Net's prediction, which layers a LoRA adapts, sizes of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPAttention

from loralab.bases.base import Base
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


def predicted(base: Base, latents: torch.Tensor, levels: torch.Tensor, text: torch.Tensor, told: dict[str, Any]) -> torch.Tensor:
    """Return what the U-Net predicts (N, C, h, w), float32, of noisy ``latents``, in the type that the base is held in."""
    found: torch.Tensor = base.unet(latents.to(base.device, base.dtype), levels, text, **told, return_dict=False)[0]
    return found.to(torch.float32)


def repeated(texts: Sequence[torch.Tensor], behind: int) -> list[torch.Tensor]:
    """Return (..., T_i, D) with their tokens repeated to the least common multiple; equal lengths come back as they are.

    Attention over a sequence said n times is attention over the sequence. The last ``behind`` rows are no tokens, and stay last.
    """
    length = math.lcm(*(text.shape[-2] - behind for text in texts))
    return [text if text.shape[-2] - behind == length else _repeated(text, length, behind) for text in texts]


def _repeated(text: torch.Tensor, length: int, behind: int) -> torch.Tensor:
    n_tokens = text.shape[-2] - behind
    said = text[..., :n_tokens, :].repeat(*(1,) * (text.ndim - 2), length // n_tokens, 1)
    return torch.cat([said, text[..., n_tokens:, :]], dim=-2)


def text_width(base: Base) -> int:
    """Return D, the width of the rows that the U-Net attends to."""
    return int(base.unet.config.cross_attention_dim)


def unit_px(base: Base) -> int:
    """Return what the sides of a picture must be multiples of: a latent's px times the U-Net's halvings."""
    halvings = len(base.unet.config.block_out_channels) - 1
    return int(base.size_px // base.latent_shape[1] * 2**halvings)


# --- layers ---------------------------------------------------------------------------------------------------------------


def adaptable_parts(base: Base) -> dict[str, torch.nn.Module]:
    """Return the parts that a LoRA can adapt, by the first word of their layers' paths: the U-Net, then the text encoders."""
    return {name: base.parts[name] for name in ("unet", *TEXT_PARTS) if base.parts.get(name) is not None}


def adapted_layers(base: Base, targets: str, *, text_encoder: bool = False) -> dict[str, Layer]:
    """Return the layers that are trained, by path ("unet.down_blocks.0. ..."), in the order of the model, text encoders last.

    Raises LabError("model") where a part has none: nothing would be trained.
    """
    layers = dict(_layers("unet", base.unet, TARGET_CLASSES[targets]))
    if not layers:
        raise lab_error("model", f"no layer of {base.name} matches `targets: {targets}`", "a UNet with transformer blocks")
    if not text_encoder:
        return layers
    parts = adaptable_parts(base)
    text = {path: layer for name in TEXT_PARTS if name in parts for path, layer in _layers(name, parts[name], TEXT_CLASSES)}
    if not text:
        raise lab_error("model", f"the text encoder of {base.name} has no layers to train", "CLIP's attention and MLP blocks")
    return layers | text


def all_layers(base: Base) -> dict[str, Layer]:
    """Return every layer that a LoRA from elsewhere may adapt, by path."""
    return {
        f"{name}.{inner}": layer
        for name, part in adaptable_parts(base).items()
        for inner, layer in part.named_modules()
        if isinstance(layer, torch.nn.Linear) or (isinstance(layer, torch.nn.Conv2d) and layer.groups == 1)
    }


def _layers(name: str, part: torch.nn.Module, containers: tuple[type[torch.nn.Module], ...]) -> Iterator[tuple[str, Layer]]:
    for path, container in part.named_modules():
        if isinstance(container, containers):
            for inner, layer in container.named_modules():
                if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                    yield f"{name}.{path}.{inner}", layer

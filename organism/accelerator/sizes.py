"""Bases to measure on: petri, and UNets of the size of SD1.5 and SDXL with random weights; nothing is downloaded.

What those draw is noise, what they cost is real. ``small`` makes them a few MB of the same structure, to see that all runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from loralab.bases import Base, load_base, text_shape
from loralab.spec import LoadSpec

TOKENS, POOLED_WIDTH = 77, 1280
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """A size: its family, the UNet's configuration, the side of its latents, and what is smaller where it is small."""

    family: str
    unet: Mapping[str, Any]
    side: int
    width: int  # of the text
    small: Mapping[str, Any]


SIZES: Mapping[str, Size] = {
    "sd15": Size(
        "sd1", {"cross_attention_dim": 768, "attention_head_dim": 8}, 64, 768,
        {"block_out_channels": (32, 32, 64, 64), "layers_per_block": 1},
    ),
    "sdxl": Size(
        "sdxl",
        {
            "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": (1, 2, 10),
            "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        128,
        2048,
        {
            "block_out_channels": (32, 64, 64), "attention_head_dim": (2, 4, 4), "transformer_layers_per_block": (1, 1, 1),
            "layers_per_block": 1,
        },
    ),
}  # fmt: skip


class Pooled(torch.nn.Module):
    """Stands where SDXL's second text encoder is: the base reads from it how wide the pooled vector is."""

    config = SimpleNamespace(projection_dim=POOLED_WIDTH)


def make_base(name: str, device: str, precision: str, small: bool = False) -> Base:
    """Return petri in full precision, or a base of that size with random weights in ``precision``; its VAE is in full precision."""
    petri = load_base("petri", LoadSpec(device=device))
    if name == "petri":
        return petri
    size = SIZES[name]
    side = size.side // 8 if small else size.side
    widths = (32,) * 4 if small else (128, 256, 512, 512)
    vae = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2}
    with torch.device(device):
        unet = UNet2DConditionModel(**{**size.unet, **(size.small if small else {})}).to(DTYPES[precision]).requires_grad_(False).eval()
        decoder = AutoencoderKL(**vae, block_out_channels=widths, latent_channels=4).requires_grad_(False).eval()
    parts = {"unet": unet, "vae": decoder} | ({"text_encoder_2": Pooled()} if size.family == "sdxl" else {})
    return replace(
        petri.with_parts(**parts), name=name, family=size.family, latent_shape=(4, side, side), size_px=8 * side, dtype=DTYPES[precision]
    )


def random_text(base: Base, n: int) -> torch.Tensor:
    """Return embeddings (n, T, D) as the base takes them: SDXL's pooled vector stands in one more row."""
    size = SIZES.get(base.name)
    rows, width = text_shape(base) if size is None else (TOKENS + (1 if base.family == "sdxl" else 0), size.width)
    return torch.randn(n, rows, width, generator=torch.Generator().manual_seed(0)).to(base.device)


def told_besides(base: Base, text: torch.Tensor, batch: int) -> dict[str, Any] | None:
    """Return what SDXL's UNet is told besides the text, for a loop that calls it by itself; None for others."""
    if base.family != "sdxl":
        return None
    side = base.size_px
    ids = torch.tensor([[side, side, 0, 0, side, side]] * batch, dtype=torch.float32, device=base.device)
    return {"added_cond_kwargs": {"text_embeds": text[:1, -1, :POOLED_WIDTH].expand(batch, -1).to(base.dtype), "time_ids": ids}}

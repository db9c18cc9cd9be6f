"""SDXL (Podell et al. 2023): a U-Net told of a text by two encoders' last layers but one, a pooled vector and the picture's size.

The pooled vector stands in one more row behind the tokens, zeros behind it, so that whoever stacks, cuts or stores embeddings need not know
the family; `predict` takes the row off again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from loralab.bases import clip, ldm_config, ldm_weights, unet, unet_names
from loralab.bases.base import Base
from loralab.bases.diffusion import Diffusion
from loralab.bases.header import Header
from loralab.bases.ldm_config import schedule_config
from loralab.bases.parts import FileWords, InFile, PartSpec
from loralab.bases.pictures import decode, encode
from loralab.bases.tokens import make_clip_tokenizer
from loralab.bases.unet import adaptable_parts, adapted_layers, all_layers, text_width, unit_px
from loralab.bases.unet_names import spellings
from loralab.errors import lab_error
from loralab.spec.prompts import Piece

name = "sdxl"
said = "SDXL"
pipeline = "StableDiffusionXLPipeline"
words = FileWords("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora", "sdxl_train_network.py", 2048)
SIZE_PX, VAE_SCALE = 1024, 0.13025
CLIP = "conditioner.embedders.0.transformer."
parts: Mapping[str, PartSpec] = {
    "unet": PartSpec(
        UNet2DConditionModel, "denoiser", "UNet",
        InFile(ldm_config.UNET, partial(ldm_config.unet_config, size_px=SIZE_PX, heads=None, time_ids=True), ldm_weights.make_unet),
    ),
    "vae": PartSpec(
        AutoencoderKL, "vae", "VAE",
        InFile(ldm_config.VAE, partial(ldm_config.vae_config, scale=VAE_SCALE, size_px=SIZE_PX), ldm_weights.make_vae),
    ),
    "text_encoder": PartSpec(
        CLIPTextModel, "text encoder", "text encoder", InFile(CLIP, partial(ldm_config.clip_config, prefix=CLIP), ldm_weights.make_clip)
    ),
    "tokenizer": PartSpec(CLIPTokenizer, "tokenizer", blank=make_clip_tokenizer),
    "text_encoder_2": PartSpec(
        CLIPTextModelWithProjection, "text encoder", "second text encoder",
        InFile(ldm_config.OPEN_CLIP, ldm_config.open_clip_config, ldm_weights.make_open_clip),
    ),
    "tokenizer_2": PartSpec(CLIPTokenizer, "tokenizer", blank=partial(make_clip_tokenizer, pad="!")),
}  # fmt: skip
path = Diffusion
prompt_limit, count_tokens, too_long = clip.prompt_limit, clip.count_tokens, clip.too_long

__all__ = [
    "adaptable_parts", "adapted_layers", "all_layers", "check_parts", "count_tokens", "decode", "embed", "embed_tokens", "encode",
    "join", "name", "parts", "path", "pipeline", "predict", "prompt_limit", "recognise", "said", "schedule_config", "spellings",
    "text_shape", "token_width", "tokenise", "too_long", "unit_px", "words", "write_key",
]  # fmt: skip


def recognise(header: Header) -> bool:
    """Whether a checkpoint of one file is of this family: an LDM U-Net with the text encoders of SDXL."""
    return ldm_config.is_unet(header) and any(key.startswith("conditioner.") for key in header.shapes)


def check_parts(found: Mapping[str, Any], reference: str) -> None:
    """No other family's folder has the same classes."""


# --- texts ------------------------------------------------------------------------------------------------------------------


def embed(base: Base, prompt: Sequence[Sequence[Piece]], *, clip_skip: int) -> torch.Tensor:
    """Return a prompt's embedding (T + 1, D), float32: both encoders' last layer but one, then the first chunk's pooled vector."""
    if clip_skip != 1:
        found = f"clip_skip {clip_skip} on an SDXL base"
        raise lab_error("spec", found, "1: SDXL always uses the last layer but one, as it was trained with", "remove `clip_skip`")
    pooled: list[torch.Tensor] = []

    def second(indices: Sequence[int]) -> torch.Tensor:
        found = base.text_encoder_2(clip.batch_of_one(base, indices), output_hidden_states=True)
        pooled.append(found.text_embeds)
        return clip.rows_of(found.hidden_states[-2])

    def first(indices: Sequence[int]) -> torch.Tensor:
        return clip.rows_of(base.text_encoder(clip.batch_of_one(base, indices), output_hidden_states=True).hidden_states[-2])

    halves = [
        torch.cat([clip.weighed(base, tokenizer, chunk, layer) for chunk in clip.all_chunks(base, tokenizer, prompt)])
        for tokenizer, layer in ((base.tokenizer, first), (base.parts["tokenizer_2"], second))
    ]
    rows = torch.cat(halves, dim=-1)
    last = torch.nn.functional.pad(pooled[0].to(torch.float32), (0, rows.shape[-1] - pooled[0].shape[-1]))
    return torch.cat([rows, last])


def join(texts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return embeddings (..., T_i + 1, D) brought to one length, which changes no prediction: repeated, the pooled vector once."""
    return unet.repeated(texts, behind=1)


def tokenise(base: Base, prompts: Sequence[str]) -> torch.Tensor:
    """Return the tokens (N, 2T) of ``prompts``, one chunk each, the second encoder's behind the first one's; raises LabError("spec")."""
    return clip.tokenise(base, [base.tokenizer, base.parts["tokenizer_2"]], prompts)


def embed_tokens(base: Base, tokens: torch.Tensor) -> torch.Tensor:
    """Return the embeddings (N, T + 1, D), float32, of what `tokenise` returns; gradients flow where an adapter is attached."""
    one, two = tokens.to(base.device).chunk(2, dim=1)
    first = base.text_encoder(one, output_hidden_states=True)
    second = base.text_encoder_2(two, output_hidden_states=True)
    rows = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    pooled = torch.nn.functional.pad(second.text_embeds, (0, rows.shape[-1] - second.text_embeds.shape[-1]))
    return torch.cat([rows, pooled[:, None]], dim=1).to(torch.float32)


def token_width(base: Base) -> int:
    """Return how many numbers `tokenise` gives for a prompt."""
    return 2 * prompt_limit(base)


def text_shape(base: Base) -> tuple[int, int]:
    """Return (T + 1, D) of the embedding of a text of one chunk."""
    return prompt_limit(base) + 1, text_width(base)


# --- pictures and files -------------------------------------------------------------------------------------------------------


def predict(base: Base, latents: torch.Tensor, levels: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Return what the U-Net predicts (N, C, h, w), float32, for noisy latents, their levels (N,) or one, and embeddings (N, T + 1, D)."""
    text = text.to(base.device, base.dtype)
    width = int(base.text_encoder_2.config.projection_dim)
    told = {"text_embeds": text[:, -1, :width], "time_ids": _time_ids(base, latents)}
    return unet.predicted(base, latents, levels, text[:, :-1], {"added_cond_kwargs": told})


def _time_ids(base: Base, latents: torch.Tensor) -> torch.Tensor:
    """Return what SDXL is told of each picture (N, 6): its size, no crop, and its size again, in px (Podell et al. 2023, 2.2)."""
    factor = base.size_px // base.latent_shape[1]
    height, width = (factor * n for n in latents.shape[-2:])
    return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=base.device).expand(len(latents), 6)


def write_key(path: str) -> str:
    """Return the name that a layer has in the files that are written here: kohya's."""
    return unet_names.kohya_key(path, encoders=2)

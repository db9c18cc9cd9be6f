"""Stable Diffusion 1 (Rombach et al. 2022): a U-Net that predicts noise, told of a text by the last layer of one CLIP encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

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

name = "sd1"
said = "Stable Diffusion 1"
pipeline = "StableDiffusionPipeline"
words = FileWords("sd_v1", "stable-diffusion-v1/lora", "train_network.py", 768)
SIZE_PX, VAE_SCALE, HEADS = 512, 0.18215, 8
CLIP = "cond_stage_model.transformer."
SD2_TEXT_WIDTH = 1024
parts: Mapping[str, PartSpec] = {
    "unet": PartSpec(
        UNet2DConditionModel, "denoiser", "UNet",
        InFile(ldm_config.UNET, partial(ldm_config.unet_config, size_px=SIZE_PX, heads=HEADS, time_ids=False), ldm_weights.make_unet),
    ),
    "vae": PartSpec(
        AutoencoderKL, "vae", "VAE",
        InFile(ldm_config.VAE, partial(ldm_config.vae_config, scale=VAE_SCALE, size_px=SIZE_PX), ldm_weights.make_vae),
    ),
    "text_encoder": PartSpec(
        CLIPTextModel, "text encoder", "text encoder", InFile(CLIP, partial(ldm_config.clip_config, prefix=CLIP), ldm_weights.make_clip)
    ),
    "tokenizer": PartSpec(CLIPTokenizer, "tokenizer", blank=make_clip_tokenizer),
}  # fmt: skip
path = Diffusion
prompt_limit, count_tokens, too_long = clip.prompt_limit, clip.count_tokens, clip.too_long

__all__ = [
    "adaptable_parts", "adapted_layers", "all_layers", "check_parts", "count_tokens", "decode", "embed", "embed_tokens", "encode",
    "join", "name", "parts", "path", "pipeline", "predict", "prompt_limit", "recognise", "said", "schedule_config", "spellings",
    "text_shape", "token_width", "tokenise", "too_long", "unit_px", "words", "write_key",
]  # fmt: skip


def recognise(header: Header) -> bool:
    """Whether a checkpoint of one file is of this family: an LDM U-Net, and no text encoder of SDXL."""
    return ldm_config.is_unet(header) and not any(key.startswith("conditioner.") for key in header.shapes)


def check_parts(found: Mapping[str, Any], reference: str) -> None:
    """Raise LabError("model") for a Stable Diffusion 2, whose folder has the same classes."""
    if getattr(found["unet"].config, "cross_attention_dim", 0) == SD2_TEXT_WIDTH:
        raise lab_error("model", f"the base {reference!r} is a Stable Diffusion 2", "SD1 or SDXL", "this version cannot use it yet")


# --- texts ------------------------------------------------------------------------------------------------------------------


def embed(base: Base, prompt: Sequence[Sequence[Piece]], *, clip_skip: int) -> torch.Tensor:
    """Return a prompt's embedding (T, D), float32: the chunks of all its parts, one behind the other."""
    clip.check_clip_skip(base, clip_skip)
    layer = partial(_hidden, base, clip_skip=clip_skip)
    chunks = clip.all_chunks(base, base.tokenizer, prompt)
    return torch.cat([clip.weighed(base, base.tokenizer, chunk, layer) for chunk in chunks])


def _hidden(base: Base, indices: Sequence[int], *, clip_skip: int) -> torch.Tensor:
    """Return the hidden states (T, D) of the layer that ``clip_skip`` names, after the encoder's final norm (A1111's and ComfyUI's way)."""
    if clip_skip == 1:
        return clip.rows_of(base.text_encoder(clip.batch_of_one(base, indices)).last_hidden_state)
    states = base.text_encoder(clip.batch_of_one(base, indices), output_hidden_states=True).hidden_states
    model = getattr(base.text_encoder, "text_model", base.text_encoder)  # transformers 4 and 5
    return clip.rows_of(model.final_layer_norm(states[-clip_skip]))


def join(texts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return embeddings (..., T_i, D) brought to one length, which changes no prediction: repeated."""
    return unet.repeated(texts, behind=0)


def tokenise(base: Base, prompts: Sequence[str]) -> torch.Tensor:
    """Return the tokens (N, T) of ``prompts``, one chunk each; raises LabError("spec") for those that are too long."""
    return clip.tokenise(base, [base.tokenizer], prompts)


def embed_tokens(base: Base, tokens: torch.Tensor) -> torch.Tensor:
    """Return the embeddings (N, T, D), float32, of what `tokenise` returns; gradients flow where an adapter is attached."""
    embedded: torch.Tensor = base.text_encoder(tokens.to(base.device)).last_hidden_state
    return embedded.to(torch.float32)


def token_width(base: Base) -> int:
    """Return how many numbers `tokenise` gives for a prompt."""
    return prompt_limit(base)


def text_shape(base: Base) -> tuple[int, int]:
    """Return (T, D) of the embedding of a text of one chunk."""
    return prompt_limit(base), text_width(base)


# --- pictures and files -------------------------------------------------------------------------------------------------------


def predict(base: Base, latents: torch.Tensor, levels: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Return what the U-Net predicts (N, C, h, w), float32, for noisy latents, their levels (N,) or one, and embeddings (N, T, D)."""
    return unet.predicted(base, latents, levels, text.to(base.device, base.dtype), {})


def write_key(path: str) -> str:
    """Return the name that a layer has in the files that are written here: kohya's."""
    return unet_names.kohya_key(path, encoders=1)

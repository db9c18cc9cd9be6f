"""A frozen pipeline and what is asked of it: prompts to embeddings, images to latents and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from loralab.errors import LabError, Problem


@dataclass(frozen=True)
class Base:
    """A text-to-image pipeline whose weights nobody changes."""

    name: str
    family: str
    unet: torch.nn.Module
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    fingerprint: str  # sha256 (hex) over every weight and configuration file
    size_px: int
    latent_shape: tuple[int, int, int]  # (C, h, w)
    device: torch.device
    dtype: torch.dtype


@torch.no_grad()
def embed_prompts(base: Base, prompts: list[str]) -> torch.Tensor:
    """Return the text embeddings (N, T, D) of ``prompts``; raises LabError("spec") where one has more tokens than the base reads."""
    limit = prompt_limit(base)
    lengths = [len(base.tokenizer(prompt).input_ids) for prompt in prompts]
    problems = [
        Problem(
            f"the prompt {prompt[:60]!r} has {n} tokens",
            f"at most {limit}, start and end included",
            "shorten it: nothing is cut off silently",
        )
        for prompt, n in zip(prompts, lengths, strict=True)
        if n > limit
    ]
    if problems:
        raise LabError("spec", problems)
    # one by one: an embedding must not depend, by a last bit, on which prompts were embedded beside it
    return torch.cat([_embed(base, prompt) for prompt in prompts])


def prompt_limit(base: Base) -> int:
    """Return how many tokens a prompt may have, start and end included."""
    return min(int(base.tokenizer.model_max_length), int(base.text_encoder.config.max_position_embeddings))


def _embed(base: Base, prompt: str) -> torch.Tensor:
    tokens = base.tokenizer([prompt], padding="max_length", max_length=prompt_limit(base), return_tensors="pt").input_ids
    embedded: torch.Tensor = base.text_encoder(tokens.to(base.device)).last_hidden_state
    return embedded


@torch.no_grad()
def encode_images(base: Base, images: torch.Tensor) -> torch.Tensor:
    """Return scaled latents (N, C, h, w): the mean of the posterior of ``images`` (N, 3, H, W) in [-1, 1], so no draw is hidden in them."""
    mean: torch.Tensor = base.vae.encode(images.to(base.device, base.vae.dtype)).latent_dist.mean
    return ((mean - _shift(base)) * base.vae.config.scaling_factor).to(torch.float32)


@torch.no_grad()
def decode_latents(base: Base, latents: torch.Tensor) -> np.ndarray:
    """Return images (N, H, W, 3) uint8 of scaled latents (N, C, h, w)."""
    unscaled = latents.to(base.device, base.vae.dtype) / base.vae.config.scaling_factor + _shift(base)
    pixels = base.vae.decode(unscaled).sample.to(torch.float32).clamp(-1, 1)
    pictures: np.ndarray = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def _shift(base: Base) -> float:
    return float(getattr(base.vae.config, "shift_factor", None) or 0.0)

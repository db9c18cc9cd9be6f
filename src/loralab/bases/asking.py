"""What is asked of a base, whatever its family: texts to embeddings, noisy latents to predictions, pictures to latents and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from loralab.bases.base import Base
from loralab.bases.family import NoisePath, family_of


def prompt_limit(base: Base) -> int:
    """Return how many tokens one chunk of a text holds, start and end included."""
    return family_of(base).prompt_limit(base)


def count_tokens(base: Base, text: str) -> int:
    """Return how many tokens a text has, letter by letter, start and end included."""
    return family_of(base).count_tokens(base, text)


def tokenise(base: Base, prompts: Sequence[str]) -> torch.Tensor:
    """Return the tokens (N, T) of ``prompts``, letter by letter, padded; raises LabError("spec") for a prompt that is too long."""
    return family_of(base).tokenise(base, prompts)


def embed_tokens(base: Base, tokens: torch.Tensor) -> torch.Tensor:
    """Return the text embeddings (N, T, D), float32, of what `tokenise` returns; gradients flow where an adapter is attached."""
    return family_of(base).embed_tokens(base, tokens)


def text_shape(base: Base) -> tuple[int, int]:
    """Return (T, D) of the embedding of a short text."""
    return family_of(base).text_shape(base)


def token_width(base: Base) -> int:
    """Return how many numbers `tokenise` gives for a prompt."""
    return family_of(base).token_width(base)


def predict(base: Base, latents: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Return what the denoiser predicts (N, C, h, w), float32, for noisy latents, timesteps (N,) or one, embeddings (N, T, D)."""
    return family_of(base).predict(base, latents, timesteps, text)


def encode_images(base: Base, images: torch.Tensor) -> torch.Tensor:
    """Return scaled latents (N, C, h, w) of ``images`` (N, 3, H, W) in [-1, 1]; no draw is hidden in them."""
    return family_of(base).encode(base, images)


def decode_latents(base: Base, latents: torch.Tensor) -> np.ndarray:
    """Return images (N, H, W, 3) uint8 of scaled latents (N, C, h, w)."""
    return family_of(base).decode(base, latents)


def unit_px(base: Base) -> int:
    """Return what the sides of a picture must be multiples of."""
    return family_of(base).unit_px(base)


def noise_path(base: Base) -> NoisePath:
    """Return the base's way from pictures to noise, by its scheduler's configuration."""
    return family_of(base).path(base.scheduler_config)


def denoiser(base: Base) -> torch.nn.Module:
    """Return the part that predicts."""
    name = next(name for name, part in family_of(base).parts.items() if part.role == "denoiser")
    model: torch.nn.Module = base.parts[name]
    return model

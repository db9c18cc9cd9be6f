"""A frozen pipeline and what is asked of it: images to latents and back, noisy latents to predictions.

A prompt's embedding is one tensor (T, D). SDXL reads a pooled vector beside its tokens: it stands in one more row, zeros behind it,
so that whoever stacks, cuts or stores embeddings need not know the family; `predict` takes the row off again.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from pathlib import Path
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
    fingerprint: str  # sha256 (hex) over every weight and configuration file, and what the study changed of them
    size_px: int
    latent_shape: tuple[int, int, int]  # (C, h, w)
    device: torch.device
    dtype: torch.dtype  # of UNet and text encoders; the VAE stays float32
    text_encoder_2: Any = None  # SDXL's second one
    tokenizer_2: Any = None
    weights: Path | None = None  # the one file that holds the UNet: its own, or a whole checkpoint

    @property
    def n_text_rows(self) -> int:
        """Rows of an embedding: the tokens of a prompt, and one of SDXL's pooled vector."""
        return prompt_limit(self) + (1 if self.text_encoder_2 is not None else 0)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: transformers leaves hooks in a text encoder that was asked for its hidden states, and no hook is pickled."""
        return self.__dict__ | {name: _without_hooks(self.__dict__[name]) for name in ("text_encoder", "text_encoder_2")}


def _without_hooks(encoder: Any) -> Any:
    """Return a copy of a text encoder with the same tensors, as if it had never been asked for its hidden states."""
    if encoder is None:
        return None
    tensors = itertools.chain(encoder.parameters(), encoder.buffers())
    bare = copy.deepcopy(encoder, {id(tensor): tensor for tensor in tensors})
    for module in bare.modules():
        module._forward_hooks.clear()
        module.__dict__.pop("_output_capturing_hooks_installed", None)
    return bare


#: pixels that go through the VAE together; it holds hundreds of times as many numbers in between
VAE_PIXELS = 1 << 20


def tokenise(base: Base, prompts: list[str]) -> torch.Tensor:
    """Return the tokens (N, T) of ``prompts``, letter by letter, padded, in one chunk.

    Where there are two encoders, the second one's stand behind the first one's (N, 2T).

    Raises LabError("spec") where a prompt has more tokens than the base reads.
    """
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
    tokenizers = [base.tokenizer] if base.text_encoder_2 is None else [base.tokenizer, base.tokenizer_2]
    padded = [
        [tokenizer([prompt], padding="max_length", max_length=limit, return_tensors="pt").input_ids for tokenizer in tokenizers]
        for prompt in prompts
    ]
    return torch.cat([torch.cat(row, dim=1) for row in padded])


def prompt_limit(base: Base) -> int:
    """Return how many tokens one chunk of a text holds, start and end included."""
    return min(int(base.tokenizer.model_max_length), int(base.text_encoder.config.max_position_embeddings))


def embed_tokens(base: Base, tokens: torch.Tensor) -> torch.Tensor:
    """Return the text embeddings (N, T, D), float32, of what `tokenise` returns; gradients flow where an adapter is attached."""
    tokens = tokens.to(base.device)
    if base.text_encoder_2 is not None:
        return _embed_twice(base, *tokens.chunk(2, dim=1))
    embedded: torch.Tensor = base.text_encoder(tokens).last_hidden_state
    return embedded.to(torch.float32)


def _embed_twice(base: Base, tokens: torch.Tensor, tokens_2: torch.Tensor) -> torch.Tensor:
    """Return SDXL's embedding (N, T + 1, D): both encoders' last layer but one, then the pooled vector (Podell et al. 2023)."""
    first = base.text_encoder(tokens, output_hidden_states=True)
    second = base.text_encoder_2(tokens_2, output_hidden_states=True)
    rows = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    pooled = torch.nn.functional.pad(second.text_embeds, (0, rows.shape[-1] - second.text_embeds.shape[-1]))
    return torch.cat([rows, pooled[:, None]], dim=1).to(torch.float32)


def predict(base: Base, latents: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Return what the UNet predicts (N, C, h, w), float32, for noisy latents (N, C, h, w), timesteps (N,) or one, embeddings (N, T, D)."""
    told: dict[str, Any] = {}
    text = text.to(base.device, base.dtype)
    if base.text_encoder_2 is not None:
        width = int(base.text_encoder_2.config.projection_dim)
        told = {"added_cond_kwargs": {"text_embeds": text[:, -1, :width], "time_ids": _time_ids(base, latents)}}
        text = text[:, :-1]
    predicted: torch.Tensor = base.unet(latents.to(base.device, base.dtype), timesteps, text, **told, return_dict=False)[0]
    return predicted.to(torch.float32)


def _time_ids(base: Base, latents: torch.Tensor) -> torch.Tensor:
    """Return what SDXL is told of each picture (N, 6): its size, no crop, and its size again, in px (Podell et al. 2023, 2.2)."""
    factor = base.size_px // base.latent_shape[1]
    height, width = (factor * n for n in latents.shape[-2:])
    return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=base.device).expand(len(latents), 6)


@torch.no_grad()
def encode_images(base: Base, images: torch.Tensor) -> torch.Tensor:
    """Return scaled latents (N, C, h, w): the mean of the posterior of ``images`` (N, 3, H, W) in [-1, 1], so no draw is hidden in them."""
    parts = images.split(vae_batch(images.shape[-1] * images.shape[-2]))
    mean = torch.cat([base.vae.encode(part.to(base.device, base.vae.dtype)).latent_dist.mean for part in parts])
    return ((mean - _shift(base)) * base.vae.config.scaling_factor).to(torch.float32)


@torch.no_grad()
def decode_latents(base: Base, latents: torch.Tensor) -> np.ndarray:
    """Return images (N, H, W, 3) uint8 of scaled latents (N, C, h, w)."""
    factor = base.size_px // base.latent_shape[1]
    parts = latents.split(vae_batch(latents.shape[-1] * latents.shape[-2] * factor**2))
    return np.concatenate([_decode(base, part) for part in parts])


def _decode(base: Base, latents: torch.Tensor) -> np.ndarray:
    unscaled = latents.to(base.device, base.vae.dtype) / base.vae.config.scaling_factor + _shift(base)
    pixels = base.vae.decode(unscaled).sample.to(torch.float32).clamp(-1, 1)
    pictures: np.ndarray = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def vae_batch(pixels: int) -> int:
    """Return how many pictures of so many pixels go through the VAE together."""
    return max(1, VAE_PIXELS // pixels)


def _shift(base: Base) -> float:
    return float(getattr(base.vae.config, "shift_factor", None) or 0.0)

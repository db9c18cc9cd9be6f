"""Pictures to latents and back through a VAE whose latents are scaled, and shifted where its configuration says so."""

from __future__ import annotations

import numpy as np
import torch

from loralab.bases.base import Base
from loralab.pixels import images_of

#: pixels that go through the VAE together; it holds hundreds of times as many numbers in between
VAE_PIXELS = 1 << 20


@torch.no_grad()
def encode(base: Base, images: torch.Tensor) -> torch.Tensor:
    """Return scaled latents (N, C, h, w): the mean of the posterior of ``images`` (N, 3, H, W) in [-1, 1], so no draw is hidden in them."""
    parts = images.split(vae_batch(images.shape[-1] * images.shape[-2]))
    mean = torch.cat([base.vae.encode(part.to(base.device, base.vae.dtype)).latent_dist.mean for part in parts])
    return ((mean - _shift(base)) * base.vae.config.scaling_factor).to(torch.float32)


@torch.no_grad()
def decode(base: Base, latents: torch.Tensor) -> np.ndarray:
    """Return images (N, H, W, 3) uint8 of scaled latents (N, C, h, w)."""
    factor = base.size_px // base.latent_shape[1]
    parts = latents.split(vae_batch(latents.shape[-1] * latents.shape[-2] * factor**2))
    return np.concatenate([_decode(base, part) for part in parts])


def _decode(base: Base, latents: torch.Tensor) -> np.ndarray:
    unscaled = latents.to(base.device, base.vae.dtype) / base.vae.config.scaling_factor + _shift(base)
    return images_of(base.vae.decode(unscaled).sample.to(torch.float32))


def vae_batch(pixels: int) -> int:
    """Return how many pictures of so many pixels go through the VAE together."""
    return max(1, VAE_PIXELS // pixels)


def _shift(base: Base) -> float:
    return float(getattr(base.vae.config, "shift_factor", None) or 0.0)

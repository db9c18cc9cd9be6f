"""The noise of a picture: a literal seed in, the starting latent out, as ComfyUI and diffusers draw it on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def image_noise(seeds: Sequence[int], latent_shape: tuple[int, int, int]) -> torch.Tensor:
    """Return unit noise (N, C, h, w), each picture from a CPU generator of its own: the same for any batch, order or device."""
    return torch.cat([torch.randn((1, *latent_shape), generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds])

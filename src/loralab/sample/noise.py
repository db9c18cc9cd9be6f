"""The noise of a picture: a literal seed in; the starting latent, and an ancestral solver's further noise, out; always drawn on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def image_noise(seeds: Sequence[int], latent_shape: tuple[int, int, int]) -> torch.Tensor:
    """Return unit noise (N, C, h, w), each picture from a CPU generator of its own: the same for any batch, order or device.

    ComfyUI (comfy/sample.py, prepare_noise: `torch.manual_seed(seed)`, then float32 on the CPU), diffusers with a CPU generator and
    A1111 with its random number generator set to CPU draw the same numbers.
    """
    return torch.cat([torch.randn((1, *latent_shape), generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds])


def step_noise(seeds: Sequence[int], latent_shape: tuple[int, int, int]) -> Callable[[], torch.Tensor]:
    """Return a source of the unit noise (N, C, h, w) that an ancestral solver adds, one draw a step, each picture from its own stream.

    A picture's stream is a CPU generator at seed + 1, apart from its starting noise: what ComfyUI does on a CPU
    (comfy/k_diffusion/sampling.py, default_noise_sampler). On an accelerator ComfyUI draws there, which no CPU can repeat; A1111 goes
    on with the generator that drew the starting noise.
    """
    streams = [torch.Generator("cpu").manual_seed(seed + 1) for seed in seeds]
    return lambda: torch.cat([torch.randn((1, *latent_shape), generator=stream) for stream in streams])

"""What the adapter tests share: adapters with both factors random, and inputs of a UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from loralab.adapters import Adapter, make_adapter
from loralab.bases import Base
from loralab.spec.models import TrainSpec

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture
def random_adapter(tiny_base: Base) -> Callable[..., Adapter]:
    """Make LoRAs that have an effect: `up` is random too."""

    def make(seed: int, **recipe: Any) -> Adapter:
        made = make_adapter(tiny_base, TrainSpec(**recipe), seed)
        generator = torch.Generator().manual_seed(seed + 1)
        weights = {path: (down, torch.randn(up.shape, generator=generator) * 0.2) for path, (down, up) in made.weights.items()}
        return Adapter(weights, made.alpha, made.rank)

    return make


@pytest.fixture
def unet_inputs(tiny_base: Base) -> Callable[[int], Inputs]:
    """Make (latents (N, C, h, w), timesteps (N,), embeddings (N, T, D))."""

    def make(n: int) -> Inputs:
        generator = torch.Generator().manual_seed(0)
        timesteps = torch.randint(1000, (n,), generator=generator)
        return torch.randn(n, *tiny_base.latent_shape, generator=generator), timesteps, torch.randn(n, 12, 16, generator=generator)

    return make


@pytest.fixture
def predict(tiny_base: Base) -> Callable[[Inputs], torch.Tensor]:
    """Run the UNet as it is attached now."""

    @torch.no_grad()
    def run(inputs: Inputs) -> torch.Tensor:
        predicted: torch.Tensor = tiny_base.unet(*inputs, return_dict=False)[0]
        return predicted

    return run

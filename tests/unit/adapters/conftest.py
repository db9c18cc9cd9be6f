"""What the adapter tests share: adapters with both factors random, and inputs of a UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

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


def make_bare_base(unet: torch.nn.Module, **parts: Any) -> Base:
    """Return a Base of which only the layers are used."""
    named = {"unet": unet, "vae": None, "text_encoder": None, "tokenizer": None} | parts
    return Base(
        name="bare", family="sd1", parts=named, scheduler_config={}, fingerprint="0" * 64, size_px=64, latent_shape=(4, 8, 8),
        device=torch.device("cpu"), dtype=torch.float32,
    )  # fmt: skip


def make_other_tools_base() -> Base:
    """Return the base over which the files in tests/fixtures/adapters were written; only its layers' names and shapes matter."""
    with torch.random.fork_rng():
        unet = UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8,), layers_per_block=1, cross_attention_dim=8,
            down_block_types=("CrossAttnDownBlock2D",), up_block_types=("UpBlock2D",), mid_block_type=None, attention_head_dim=2,
            norm_num_groups=4,
        )  # fmt: skip
        config = CLIPTextConfig(
            vocab_size=54, hidden_size=8, intermediate_size=16, projection_dim=8, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=12, bos_token_id=52, eos_token_id=53, pad_token_id=53,
        )  # fmt: skip
        return make_bare_base(unet, text_encoder=CLIPTextModel(config))


@pytest.fixture(scope="session")
def bare_base() -> Callable[..., Base]:
    return make_bare_base


@pytest.fixture(scope="session")
def other_tools_base() -> Base:
    return make_other_tools_base()


@pytest.fixture(scope="session")
def change_of() -> Callable[[Adapter], dict[str, torch.Tensor]]:
    """Return delta W of each layer of an adapter, multiplied out in float64."""

    def change(adapter: Adapter) -> dict[str, torch.Tensor]:
        return {
            path: (adapter.scale * up.flatten(1).double() @ down.flatten(1).double()).reshape(len(up), *down.shape[1:])
            for path, (down, up) in adapter.weights.items()
        }

    return change

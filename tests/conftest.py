"""Fixtures of the torch tests: a random Stable Diffusion pipeline with SD1's structure, a few hundred kB, and its Base."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loralab.bases import Base
    from tests.support.forks import Nursery

MAX_TOKENS = 12


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the lab knows of the machine out of the user's home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread: tiny tensors gain nothing from more, and sums keep their order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery | None]:
    """A process that has imported everything, from which crews fork theirs; None where none can be forked."""
    if not hasattr(os, "fork"):
        yield None
        return
    from tests.support.forks import start_nursery

    with closing(start_nursery()) as made:
        yield made


@pytest.fixture
def forked_crews(nursery: Nursery | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crews whose processes need not import anything; that they do start by themselves is what `test_crew.py` sees."""
    from tests.support.forks import use_forks

    if nursery is not None:
        use_forks(monkeypatch, nursery)


@pytest.fixture(scope="module")
def dry_runs_known() -> Iterator[None]:
    """What studies on a small base find out in seconds: that it fits, at a MiB a LoRA or picture; `test_memory.py` sees real figures."""
    from loralab.cost import memory

    def found(_peak: object, _base: Base, *settings: object) -> int:
        n = settings[2] if len(settings) > 2 else 1
        assert isinstance(n, int)
        return n << 20

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_found_once", found)
        yield


def save_tiny_pipeline(folder: Path, *, prediction_type: str = "epsilon") -> None:
    """Write a StableDiffusionPipeline folder: SD1's blocks and 1x1-conv projections, 16 px images, 4 latent channels of 8 x 8."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = make_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        unet = UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1, cross_attention_dim=16,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=2, norm_num_groups=8,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4, norm_num_groups=4, layers_per_block=1, sample_size=16, scaling_factor=0.5,
        )  # fmt: skip
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, projection_dim=16, num_hidden_layers=2,
                num_attention_heads=2, max_position_embeddings=MAX_TOKENS, bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            )
        )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False,
        prediction_type=prediction_type,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)


def make_tokenizer() -> object:
    """Return a CLIPTokenizer that knows single letters and no merges."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=MAX_TOKENS)


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Stable Diffusion pipeline in diffusers' layout."""
    folder = tmp_path_factory.mktemp("tiny-base")
    save_tiny_pipeline(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tiny_base_folder: Path) -> Base:
    """The Base of ``tiny_base_folder``."""
    from loralab.bases import load_base

    return load_base(str(tiny_base_folder))

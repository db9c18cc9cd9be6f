"""Sampling: the guidance formula, company that changes nothing, strength 0, and diffusers' own pipeline as the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.adapters import make_adapter
from loralab.bases import Base, embed_prompts
from loralab.sample import Batch, ImageBlock, image_noise, plan_batches, sample_batch
from loralab.sample.sampler import guide
from loralab.spec.models import SampleSpec, TrainSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def embeddings_of(base: Base, *prompts: str) -> dict[str, torch.Tensor]:
    return dict(zip(prompts, embed_prompts(base, list(prompts)), strict=True))


def strong_adapter(base: Base, seed: int = 1):
    """An adapter whose `up` is not zero, so that it changes pictures."""
    adapter = make_adapter(base, TrainSpec(rank=2), seed)
    generator = torch.Generator().manual_seed(seed)
    for _, up in adapter.weights.values():
        up.copy_(torch.randn(up.shape, generator=generator) * 0.5)
    return adapter


def test_guidance_is_uncond_plus_scale_times_difference():
    """2 + 5 * (3 - 2) = 7, and scale 1 gives the conditional prediction back."""
    uncond, cond = torch.tensor([2.0]), torch.tensor([3.0])
    assert guide(uncond, cond, 5.0).item() == 7.0
    assert guide(uncond, cond, 1.0).item() == 3.0


def test_noise_is_that_of_the_seed_alone():
    alone = image_noise([17], (4, 8, 8))
    assert torch.equal(image_noise([3, 17, 5], (4, 8, 8))[1:2], alone)
    assert torch.equal(alone[0], torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(17))[0])


def test_a_picture_is_the_same_in_any_company(tiny_base: Base):
    spec, adapters = SampleSpec(steps=4, guidance=3), {"a": strong_adapter(tiny_base)}
    embeddings = embeddings_of(tiny_base, "cat", "dog", "")
    alone = sample_batch(tiny_base, Batch((("a", 1.0),), ((("cat", 17),),)), adapters, spec, embeddings)[0, 0]
    crowd = Batch(((None, 0.0), ("a", 1.0), ("a", 0.5)), ((("dog", 1), ("cat", 2)), (("dog", 5), ("cat", 17)), (("cat", 9), ("cat", 17))))
    together = sample_batch(tiny_base, crowd, adapters, spec, embeddings)
    assert np.abs(together[1, 1].astype(int) - alone.astype(int)).max() <= 1
    assert np.abs(together[2, 1].astype(int) - alone.astype(int)).max() > 1


def test_strength_zero_is_the_base_bit_for_bit_in_the_same_layout(tiny_base: Base):
    spec, adapters = SampleSpec(steps=4, guidance=3), {"a": strong_adapter(tiny_base), "b": strong_adapter(tiny_base, 2)}
    embeddings, items = embeddings_of(tiny_base, "cat", ""), (("cat", 1), ("cat", 2))
    base = sample_batch(tiny_base, Batch(((None, 0.0), ("b", 1.0)), (items, items)), adapters, spec, embeddings)
    silent = sample_batch(tiny_base, Batch((("a", 0.0), ("b", 1.0)), (items, items)), adapters, spec, embeddings)
    assert np.array_equal(base, silent)
    assert not np.array_equal(base[0], base[1])


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")  # in diffusers' own call
@pytest.mark.parametrize(("sampler", "guidance"), [("dpmpp-2m", 4.0), ("dpmpp-2m", 1.0), ("ddim", 4.0)])
def test_pictures_equal_those_of_diffusers_own_pipeline(tiny_base: Base, tiny_base_folder: Path, sampler: str, guidance: float):
    from diffusers import StableDiffusionPipeline

    from loralab.bases import noise_path
    from loralab.sample.solvers import make_solver

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_solver(sampler, noise_path(tiny_base), 6)
    embeddings = embeddings_of(tiny_base, "cat", "")
    theirs = pipeline(
        prompt_embeds=embeddings["cat"][None], negative_prompt_embeds=embeddings[""][None],
        latents=image_noise([17], tiny_base.latent_shape),        num_inference_steps=6, guidance_scale=guidance, output_type="np",
    ).images[0]  # fmt: skip
    spec = SampleSpec(steps=6, guidance=guidance, sampler=sampler)  # type: ignore[arg-type]
    ours = sample_batch(tiny_base, Batch(((None, 0.0),), ((("cat", 17),),)), {}, spec, embeddings)
    assert np.abs((theirs * 255).round() - ours[0, 0]).max() <= 1


def test_a_plan_of_batches_draws_what_a_single_batch_draws(tiny_base: Base):
    spec = SampleSpec(steps=3, guidance=2)
    embeddings = embeddings_of(tiny_base, "cat", "")
    whole = sample_batch(tiny_base, Batch(((None, 0.0),), (tuple(("cat", seed) for seed in range(5)),)), {}, spec, embeddings)[0]
    parts = [
        sample_batch(tiny_base, batch, {}, spec, embeddings)[0]
        for batch in plan_batches([ImageBlock(None, "cat", 0.0, tuple(range(5)))], 2)
    ]
    assert np.abs(np.concatenate(parts).astype(int) - whole.astype(int)).max() <= 1

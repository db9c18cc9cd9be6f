"""SDXL through the whole line: embeddings, sampling and training against diffusers' own pipeline; low precision stays near float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from pydantic import ValidationError

from loralab.adapters import Adapter, AdapterStack, adapted_layers, make_adapter
from loralab.bases import Base, embed_prompts, load_base, predict
from loralab.errors import LabError
from loralab.sample import Batch, sample_batch
from loralab.spec import LoadSpec, SampleSpec, TrainSpec
from loralab.train import TrainRun, train_stack
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")
Small = dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def pipeline(small: Small) -> StableDiffusionXLPipeline:
    loaded = StableDiffusionXLPipeline.from_pretrained(small["sdxl"][0], local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_embeddings_are_those_of_diffusers_with_the_pooled_vector_in_one_more_row(sdxl: Base, pipeline: StableDiffusionXLPipeline) -> None:
    found = embed_prompts(sdxl, ["a red cat", ""])
    for row, prompt in zip(found, ["a red cat", ""], strict=True):
        text, _, pooled, _ = pipeline.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
        assert (row[:-1] - text[0]).abs().max() <= 1e-5
        assert (row[-1, :64] - pooled[0]).abs().max() <= 1e-5
        assert row[-1, 64:].abs().max() == 0


def test_a_picture_is_the_one_that_diffusers_draws(sdxl: Base, pipeline: StableDiffusionXLPipeline) -> None:
    recipe = SampleSpec(steps=3, guidance=4, sampler="ddim", negative="dog")
    embeddings = dict(zip(["a red cat", "dog"], embed_prompts(sdxl, ["a red cat", "dog"]), strict=True))
    ours = sample_batch(sdxl, Batch(((None, 0.0),), ((("a red cat", 5),),)), {}, recipe, embeddings)[0, 0]
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="leading")
    noise = torch.randn((1, 4, 32, 32), generator=torch.Generator().manual_seed(5))
    theirs = pipeline(
        "a red cat", negative_prompt="dog", height=64, width=64, num_inference_steps=3, guidance_scale=4, latents=noise, output_type="np"
    ).images[0]
    assert np.abs(ours.astype(float) - theirs * 255).max() <= 1.5


def random_adapter(base: Base, seed: int) -> Adapter:
    adapter = make_adapter(base, TrainSpec(rank=2), seed)
    generator = torch.Generator().manual_seed(seed)
    return Adapter({path: (down, torch.randn(up.shape, generator=generator) * 0.1) for path, (down, up) in adapter.weights.items()}, 2.0, 2)


def test_a_stack_over_sdxl_equals_each_adapter_merged_into_the_weights(sdxl: Base) -> None:
    """The reference is arithmetic on the weights: W + up @ down, one adapter at a time."""
    adapters = [random_adapter(sdxl, 1), random_adapter(sdxl, 2)]
    text = embed_prompts(sdxl, ["cat"]).expand(2, -1, -1)
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), AdapterStack(sdxl, adapters).attached():
        stacked = predict(sdxl, latents, torch.tensor([10, 500]), text)
    layers = adapted_layers(sdxl, "transformer")
    for k, adapter in enumerate(adapters):
        kept = {path: layers[path].weight.data for path in adapter.weights}
        for path, (down, up) in adapter.weights.items():
            layers[path].weight.data = kept[path] + up @ down
        with torch.no_grad():
            merged = predict(sdxl, latents[k : k + 1], torch.tensor([[10, 500][k]]), text[:1])
        for path, weight in kept.items():
            layers[path].weight.data = weight
        assert (merged - stacked[k]).abs().max() <= 1e-4 * merged.abs().max()


def runs_of(base: Base, n: int, **recipe: object) -> list[TrainRun]:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, *base.latent_shape, generator=generator) * 0.5
    text = embed_prompts(base, ["cat", "red"])
    return [TrainRun(f"r{k}", TrainSpec(rank=2, batch=1, **recipe), latents, text, replicate=k) for k in range(n)]  # type: ignore[arg-type]


def trained(base: Base, n: int = 1, **recipe: object) -> tuple[list[float], Adapter]:
    (first, *_), _ = finish(train_stack(base, runs_of(base, n, **recipe), root_seed=3))
    return first.losses, first.adapter


@pytest.fixture(scope="module")
def velocity(small: Small) -> Base:
    """A small SDXL that predicts velocity under a schedule that ends in pure noise."""
    return load_base(str(small["sdxl"][1]), LoadSpec(size_px=64, prediction="v_prediction", zero_terminal_snr=True))


def test_velocity_is_learned_under_a_schedule_that_ends_in_pure_noise(velocity: Base) -> None:
    """The first loss by hand: v = sqrt(abar) noise - sqrt(1 - abar) x, abar from betas rescaled as in Lin et al. 2023, algorithm 1."""
    from loralab.train.streams import sample_noise, sample_order

    run = runs_of(velocity, 1)[0]
    losses, _ = trained(velocity, steps=2)
    noise, timestep = next(sample_noise(3, 0, (1, *velocity.latent_shape), 1000))
    x = run.latents[next(sample_order(3, 0, 2, 1))]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    root = torch.cumprod(1 - betas, 0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    a = root[timestep].float().reshape(1, 1, 1, 1)
    b = (1 - a**2).sqrt()
    with torch.no_grad():
        predicted = predict(velocity, a * x + b * noise, timestep, run.embeddings[next(sample_order(3, 0, 2, 1))])
    assert root[-1] == 0
    assert losses[0] == pytest.approx((predicted - (a * noise - b * x)).square().mean().item(), rel=1e-4)


def test_a_picture_under_zero_terminal_snr_begins_at_pure_noise_and_stays_finite(velocity: Base) -> None:
    embeddings = dict(zip(["cat", ""], embed_prompts(velocity, ["cat", ""]), strict=True))
    for sampler in ("dpmpp-2m", "ddim"):
        recipe = SampleSpec(steps=3, guidance=3, sampler=sampler)
        images = sample_batch(velocity, Batch(((None, 0.0),), ((("cat", 1),),)), {}, recipe, embeddings)
        assert images.std() > 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_stays_near_float32(small: Small, sdxl: Base, precision: str) -> None:
    low = load_base(str(small["sdxl"][0]), LoadSpec(size_px=64, precision=precision))
    assert {value.dtype for value in low.unet.parameters()} == {low.dtype} != {torch.float32}
    assert {value.dtype for value in low.vae.parameters()} == {torch.float32}
    assert low.fingerprint != sdxl.fingerprint
    text = embed_prompts(sdxl, ["cat"])
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = predict(sdxl, latents, torch.tensor([500]), text)
        found = predict(low, latents, torch.tensor([500]), embed_prompts(low, ["cat"]))
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() <= 0.05 * exact.abs().max()
    losses, adapter = trained(low, steps=2)
    assert all(value.dtype == torch.float32 for pair in adapter.weights.values() for value in pair)
    assert losses == pytest.approx(trained(sdxl, steps=2)[0], rel=0.05)


def test_a_device_that_is_not_there_is_said(small: Small) -> None:
    with pytest.raises(LabError, match=r"device 'cuda:99', but torch .* finds \d+ CUDA devices on this machine"):
        load_base(str(small["sd1"][0]), LoadSpec(device="cuda:99"))
    with pytest.raises(ValidationError):
        LoadSpec(device="gpu")

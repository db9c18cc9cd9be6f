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


def drawn_within(base: Base, *interval: float, steps: int = 4, **more: object) -> np.ndarray:
    """Two groups of two pictures, of the base and of an adapter, guided in a part of the steps."""
    spec, embeddings = SampleSpec(steps=steps, guidance_interval=interval, **{"guidance": 3, **more}), embeddings_of(base, "cat", "dog", "")
    batch = Batch((("a", 1.0), (None, 0.0)), ((("cat", 1), ("dog", 2)), (("dog", 3), ("cat", 4))))
    return sample_batch(base, batch, {"a": strong_adapter(base)}, spec, embeddings)


def test_guidance_in_all_steps_is_plain_guidance_and_in_none_is_no_guidance(tiny_base: Base):
    spec, embeddings = SampleSpec(steps=4, guidance=3), embeddings_of(tiny_base, "cat", "dog", "")
    batch = Batch((("a", 1.0), (None, 0.0)), ((("cat", 1), ("dog", 2)), (("dog", 3), ("cat", 4))))
    plain = sample_batch(tiny_base, batch, {"a": strong_adapter(tiny_base)}, spec, embeddings)
    assert np.array_equal(plain, drawn_within(tiny_base, 0, 1))
    none = drawn_within(tiny_base, 0, 1, guidance=1)
    assert np.array_equal(none, drawn_within(tiny_base, 0, 0))
    assert np.array_equal(none, drawn_within(tiny_base, 0.5, 0.5))
    half = drawn_within(tiny_base, 0, 0.5)
    assert not np.array_equal(half, plain)
    assert not np.array_equal(half, none)


def test_steps_outside_of_the_interval_see_each_picture_once(tiny_base: Base, monkeypatch: pytest.MonkeyPatch):
    """Four pictures, four steps, of which the second and third are guided: 4, 8, 8, 4 rows."""
    from loralab.sample import sampler

    rows, whole = [], sampler.predict

    def counted(base: Base, latents: torch.Tensor, *rest: object) -> torch.Tensor:
        rows.append(len(latents))
        return whole(base, latents, *rest)

    monkeypatch.setattr(sampler, "predict", counted)
    drawn_within(tiny_base, 0.25, 0.75)
    assert rows == [4, 8, 8, 4]
    assert sum(rows) == 4 * SampleSpec(steps=4, guidance_interval=(0.25, 0.75)).passes


def test_an_interval_counts_the_steps_that_the_solver_makes(tiny_base: Base):
    """ddim-uniform makes 13 steps where 12 are asked for: int(.08 * 13) = 1 is guided, of 12 none would be."""
    one = drawn_within(tiny_base, 0, 0.08, steps=12, sampler="euler", schedule="ddim-uniform")
    none = drawn_within(tiny_base, 0, 0, steps=12, sampler="euler", schedule="ddim-uniform")
    assert not np.array_equal(one, none)


def test_guided_steps_by_hand():
    spec = SampleSpec(steps=12, guidance=3, guidance_interval=(0.09, 0.75))  # int(1.08) = 1, int(9) = 9
    assert (list(spec.guided_steps()), spec.passes) == (list(range(1, 9)), 20)
    assert SampleSpec(steps=12, guidance=3).passes == 24
    assert SampleSpec(steps=12, guidance=1).passes == 12


@pytest.mark.parametrize("interval", [(0.5, 0.2), (-0.1, 1.0), (0.0, 1.5)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, float]):
    with pytest.raises(ValueError, match="two parts of the steps from 0 to 1, the smaller first"):
        SampleSpec(guidance_interval=interval)


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

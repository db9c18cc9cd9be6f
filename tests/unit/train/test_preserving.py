"""Trainings that are held to their base: against plain loops of separate passes, in stacks, with a trained text encoder, resumed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from loralab.adapters import AdapterStack, adapter_sha256, make_adapter
from loralab.bases import embed_captions, embed_tokens, tokenise
from loralab.data import TrainingPicture
from loralab.errors import LabError
from loralab.spec.datasets import SubsetSpec
from loralab.spec.models import TrainSpec
from loralab.spec.packing import pack_runs
from loralab.stages.trained import preserved_tensor
from loralab.train import Feed, TrainedRun, TrainRun, train_stack
from loralab.train.preserving import preserved_caption
from loralab.train.streams import init_seed, sample_noise, sample_order
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")
CAPTIONS = ["a cat", "a b cat", "cat"]
CLASS = {"diff_output_preservation": True, "diff_output_preservation_class": "b", "diff_output_preservation_trigger": "cat"}
BLANK = {"blank_prompt_preservation": True}


def make_run(base: Any, name: str, *, replicate: int = 0, **recipe: Any) -> TrainRun:
    spec = TrainSpec(**({"steps": 5, "batch": 2, "rank": 2, "lr": 1e-3} | recipe))
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    kept = preserved_tensor(base, CAPTIONS, spec) if spec.preserves else None
    if spec.trains_text:
        return TrainRun(name, spec, latents, None, replicate, tokens=tokenise(base, CAPTIONS), preserved=kept)
    return TrainRun(name, spec, latents, embed_captions(base, CAPTIONS), replicate, preserved=kept)


def train(base: Any, *runs: TrainRun, resume: Path | None = None) -> list[TrainedRun]:
    return finish(train_stack(base, runs, root_seed=3, resume=resume))[0]


def largest_difference(one: Any, other: Any) -> float:
    return max(
        float((ours - theirs).abs().max())
        for path, pair in one.weights.items()
        for ours, theirs in zip(other.weights[path], pair, strict=True)
    )


def test_the_caption_that_is_preserved():
    recipe = TrainSpec(**(CLASS | {"diff_output_preservation_trigger": "zok wug", "diff_output_preservation_class": "shape"}))
    assert preserved_caption(recipe, "red zok wug, white") == "red shape, white"
    assert preserved_caption(recipe, "Zok_Wug and zok wugs") == "shape and zok wugs"
    assert preserved_caption(recipe, "") == "shape"  # dropped
    assert preserved_caption(recipe, "red, white") == "shape"  # its tag dropped
    assert preserved_caption(TrainSpec(**BLANK), "red zok wug") == ""


@pytest.mark.parametrize("text_encoder_lr", [0, 1e-3])
@pytest.mark.parametrize("how", [CLASS | {"diff_output_preservation_multiplier": 2.0}, BLANK])
def test_one_run_equals_a_plain_loop_of_three_passes(tiny_base, how, text_encoder_lr):
    """ai-toolkit's SDTrainer: the loss as ever, and the mean square between the prediction under the other caption and the base's there."""
    recipe = {"max_grad_norm": 1e9, "text_encoder_lr": text_encoder_lr}
    run = make_run(tiny_base, "a", **recipe, **how)
    (trained,) = train(tiny_base, run)
    stack = AdapterStack(tiny_base, [make_adapter(tiny_base, run.spec, init_seed(3, 0))], trainable=True)
    optimiser = torch.optim.AdamW(stack.parameters(), lr=run.spec.lr, weight_decay=run.spec.weight_decay)
    schedule = DDPMScheduler.from_config(tiny_base.scheduler_config)
    order, noises = sample_order(3, 0, 3, 2), sample_noise(3, 0, (2, 4, 8, 8), 1000)
    others = [caption.replace("cat", "b") if how is not BLANK else "" for caption in CAPTIONS]

    def predicted(noisy: torch.Tensor, timesteps: torch.Tensor, captions: list[str]) -> torch.Tensor:
        return tiny_base.unet(noisy, timesteps, embed_tokens(tiny_base, tokenise(tiny_base, captions))).sample

    for step in range(5):
        index, (noise, timesteps) = next(order), next(noises)
        noisy = schedule.add_noise(run.latents[index], noise, timesteps)
        shown, kept = ([texts[place] for place in index.tolist()] for texts in (CAPTIONS, others))
        with torch.no_grad():
            target = predicted(noisy, timesteps, kept)
        with stack.attached():
            loss = (predicted(noisy, timesteps, shown) - noise).square().mean()
            loss = loss + (1 if how is BLANK else 2) * (predicted(noisy, timesteps, kept) - target).square().mean()
        optimiser.zero_grad(set_to_none=False)
        loss.backward()
        optimiser.step()
        assert trained.losses[step] == pytest.approx(float(loss.detach()), rel=1e-5)
    (expected,) = stack.adapters()
    assert largest_difference(trained.adapter, expected) < 1e-5  # of values that have moved by .005
    (plain,) = train(tiny_base, make_run(tiny_base, "plain", **recipe))
    assert largest_difference(plain.adapter, expected) > 2e-4


def test_a_stack_equals_its_runs_alone(tiny_base):
    """Another class word, another kind of preservation, another loss and weight: nothing couples two runs."""
    changed = [CLASS, BLANK, CLASS | {"diff_output_preservation_class": "a b"}, BLANK | {"min_snr_gamma": 5.0, "loss_type": "huber"}]
    runs = [make_run(tiny_base, f"{k}", replicate=k % 2, **recipe) for k, recipe in enumerate(changed)]
    together = train(tiny_base, *runs)
    for run, found in zip(runs, together, strict=True):
        (alone,) = train(tiny_base, run)
        assert largest_difference(alone.adapter, found.adapter) < 1e-5
        assert found.losses == pytest.approx(alone.losses, rel=1e-4)


def test_plain_arms_are_not_stacked_with_it():
    plain, kept = TrainSpec(), TrainSpec(**BLANK)
    assert pack_runs([("a", plain), ("b", kept), ("c", plain), ("d", TrainSpec(**CLASS))], 16) == [["a", "c"], ["b", "d"]]


def test_at_the_first_step_there_is_nothing_to_keep(tiny_base):
    """The adapter begins silent, so its prediction is the base's: the loss is the plain one; from the second step on it is more."""
    plain, kept = (train(tiny_base, make_run(tiny_base, "a", **how))[0] for how in ({}, BLANK))
    assert kept.losses[0] == pytest.approx(plain.losses[0], rel=1e-6)
    assert kept.losses[1] > plain.losses[1]


def test_a_heavy_weight_holds_the_base_more(tiny_base):
    recipe = {"steps": 12, "lr": 1e-2, "max_grad_norm": 1e9}
    light, heavy = (
        train(tiny_base, make_run(tiny_base, "a", **recipe, **BLANK, blank_prompt_preservation_multiplier=weight))[0]
        for weight in (0.01, 100)
    )  # fmt: skip
    embeddings = embed_captions(tiny_base, [""])
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    plain = tiny_base.unet(latents, 500, embeddings).sample
    moved = []
    for run in (light, heavy):
        with AdapterStack(tiny_base, [run.adapter]).attached():
            moved.append(float((tiny_base.unet(latents, 500, embeddings).sample - plain).square().mean()))
    assert moved[1] < moved[0] / 2


@pytest.fixture
def killed_and_whole(tiny_base, tmp_path, monkeypatch):
    """Return a function that checks that a stack killed after some steps goes on to the bits of the whole one, which it returns."""
    monkeypatch.setattr("loralab.train.kept.SHARE", 1e9)  # keep every step

    def check(runs, steps):
        whole = train(tiny_base, *runs)
        loop = train_stack(tiny_base, runs, root_seed=3, resume=tmp_path)
        for _ in range(steps):
            next(loop)
        loop.close()
        again = train(tiny_base, *runs, resume=tmp_path)
        assert [adapter_sha256(run.adapter) for run in again] == [adapter_sha256(run.adapter) for run in whole]
        return whole

    return check


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tiny_base, tmp_path, killed_and_whole):
    whole = killed_and_whole([make_run(tiny_base, "a", **CLASS), make_run(tiny_base, "b", **BLANK)], 3)
    other = train(tiny_base, *(make_run(tiny_base, name, **CLASS) for name in "ab"), resume=tmp_path)
    assert adapter_sha256(other[1].adapter) != adapter_sha256(whole[1].adapter), "another training's state is not taken"


# --- targets of the base's own: masked places, and pictures that are held to it ----------------------------------------------------


def picture(number: int, *, mask: bool = False, caption: str = "cat", **options: Any) -> TrainingPicture:
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    hidden = generator.integers(0, 256, (16, 16), dtype=np.uint8) if mask else None
    return TrainingPicture(pixels, hidden, caption, SubsetSpec(image_dir="x", **options), (16, 16))


def fed(base: Any, name: str, pictures: list[TrainingPicture], **recipe: Any) -> TrainRun:
    spec = TrainSpec(**({"steps": 4, "batch": 2, "rank": 2, "lr": 1e-3, "max_grad_norm": 1e9} | recipe))
    preserve = partial(preserved_caption, spec) if spec.preserves else None
    return TrainRun(name, spec, torch.empty(0), None, 0, feed=Feed(base, pictures, spec.trains_text, preserve=preserve))


MASKED = [picture(1, mask=True, caption="a cat"), picture(2, mask=True), picture(3)]
HELD = [picture(1, caption="a cat"), picture(2, num_repeats=2), picture(3, caption="a b", is_reg=True, diff_output_preservation=True)]


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_masked_places_are_held_to_the_base(tiny_base, weight):
    """OneTrainer's masked_losses_with_prior: m (p - noise)^2 + weight (1 - m) (p - base)^2, its mean over all."""
    run = fed(tiny_base, "a", MASKED, masked_prior_preservation_weight=weight)

    def loss(batch: Any, predicted: torch.Tensor, told: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        assert batch.masks is not None
        return (batch.masks * (predicted - noise) ** 2 + weight * (1 - batch.masks) * (predicted - told) ** 2).mean()

    compare_with_a_loop(tiny_base, run, loss)


def test_pictures_may_be_held_to_the_base(tiny_base):
    """sd-scripts #1710: the target of these pictures is the base's prediction, under their own captions."""
    run = fed(tiny_base, "a", HELD)

    def loss(batch: Any, predicted: torch.Tensor, told: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        targets = [told[place] if held else noise[place] for place, held in enumerate(batch.from_base.tolist())]
        return (predicted - torch.stack(targets)).square().mean()

    compare_with_a_loop(tiny_base, run, loss)


def compare_with_a_loop(base: Any, run: TrainRun, loss: Any) -> None:
    """Train a run, and the same by a loop of plain passes over what its feed shows."""
    (trained,) = train(base, run)
    stack = AdapterStack(base, [make_adapter(base, run.spec, init_seed(3, 0))], trainable=True)
    optimiser = torch.optim.AdamW(stack.parameters(), lr=run.spec.lr, weight_decay=run.spec.weight_decay)
    schedule = DDPMScheduler.from_config(base.scheduler_config)
    assert run.feed is not None
    shown, noises = run.feed.showings(3, 0, 2), sample_noise(3, 0, (2, 4, 8, 8), 1000)
    for step in range(run.spec.steps):
        batch, (noise, timesteps) = next(shown), next(noises)
        noisy = schedule.add_noise(batch.latents, noise, timesteps)
        told = base.unet(noisy, timesteps, batch.text).sample.detach()
        with stack.attached():
            value = loss(batch, base.unet(noisy, timesteps, batch.text).sample, told, noise)
        optimiser.zero_grad(set_to_none=False)
        value.backward()
        optimiser.step()
        assert trained.losses[step] == pytest.approx(float(value.detach()), rel=1e-5)
    (expected,) = stack.adapters()
    assert largest_difference(trained.adapter, expected) < 1e-5


def test_in_one_stack_each_has_its_own_targets(tiny_base):
    runs = [
        fed(tiny_base, "a", MASKED, masked_prior_preservation_weight=1.0), fed(tiny_base, "b", HELD), fed(tiny_base, "c", MASKED),
        make_run(tiny_base, "d", steps=4, max_grad_norm=1e9),
    ]  # fmt: skip
    for run, found in zip(runs, train(tiny_base, *runs), strict=True):
        (alone,) = train(tiny_base, run)
        assert largest_difference(alone.adapter, found.adapter) < 4e-5  # of values that have moved by .004
        assert found.losses == pytest.approx(alone.losses, rel=1e-4)


def test_a_picture_masked_as_a_whole_teaches_nothing_and_is_held(tiny_base):
    """With the whole picture masked the only target is the base's prediction, which the silent adapter already has."""
    blank = [replace(each, mask=np.zeros((16, 16), np.uint8)) for each in MASKED[:2]]
    (held,) = train(tiny_base, fed(tiny_base, "a", blank, masked_prior_preservation_weight=1.0, weight_decay=0))
    assert held.losses == pytest.approx([0.0] * 4, abs=1e-10)


def test_all_of_it_together_and_killed_in_the_middle(tiny_base, killed_and_whole):
    """Masks, held pictures and a preserved class in one recipe, in captions that are shuffled: resumed to the same bits."""
    shuffled = [replace(each, options=each.options.model_copy(update={"shuffle_caption": True})) for each in (*MASKED, HELD[2])]
    recipes = (("a", CLASS), ("b", BLANK))
    killed_and_whole([fed(tiny_base, name, shuffled, masked_prior_preservation_weight=1.0, **how) for name, how in recipes], 2)


def test_what_does_not_fit_the_recipe_is_refused(tiny_base):
    plain = make_run(tiny_base, "a")
    with pytest.raises(LabError, match="no captions to preserve"):
        train(tiny_base, TrainRun("a", TrainSpec(**BLANK, steps=5), plain.latents, plain.embeddings, 0))
    with pytest.raises(LabError, match="a recipe that preserves outputs"):
        train(tiny_base, TrainRun("a", plain.spec, plain.latents, plain.embeddings, 0, preserved=plain.embeddings))
    with pytest.raises(LabError, match="no picture has a mask"):
        train(tiny_base, fed(tiny_base, "a", HELD, masked_prior_preservation_weight=1.0))
    with pytest.raises(ValueError, match="set diff_output_preservation_class"):
        TrainSpec(diff_output_preservation=True)
    with pytest.raises(ValueError, match="cannot be combined"):
        TrainSpec(**CLASS, **BLANK)

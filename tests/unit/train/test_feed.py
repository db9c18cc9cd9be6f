"""Showings that differ: buckets, flips, crops, masks, regularisation; and that nothing changes where nothing is asked for."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from loralab.bases import embed_prompts, encode_images
from loralab.data.training_picture import TrainingPicture, make_showings
from loralab.spec.datasets import SubsetSpec
from loralab.spec.models import TrainSpec
from loralab.spec.packing import pack_runs
from loralab.train import Feed, TrainedRun, TrainRun, train_stack
from loralab.train.feed import cut_pixels, draw_cut
from loralab.train.losses import run_losses
from loralab.train.streams import NoiseStream, sample_bucketed_order, sample_noise, sample_order
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(number: int, *, size: tuple[int, int] = (16, 16), bucket: tuple[int, int] | None = None, mask: np.ndarray | None = None,
            caption: str = "a, b, c, d", **options: Any) -> TrainingPicture:  # fmt: skip
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return TrainingPicture(pixels, mask, caption, SubsetSpec(image_dir="x", **options), bucket or size)


def outcome(base: Any, *runs: TrainRun) -> tuple[list[TrainedRun], list[list[float | None]]]:
    """Return the trained runs and the losses of each step."""
    trained, steps = finish(train_stack(base, runs, root_seed=0))
    return trained, [step.losses for step in steps]


def trained(base: Any, *runs: TrainRun) -> list[torch.Tensor]:
    found, _ = outcome(base, *runs)
    assert all(run.failed is None for run in found)
    return [torch.cat([factor.flatten() for pair in run.adapter.weights.values() for factor in pair]) for run in found]


def fed(base: Any, pictures: list[TrainingPicture], name: str = "fed", prior: float = 1.0, replicate: int = 0, **recipe: Any) -> TrainRun:
    spec = TrainSpec(**({"steps": 4, "batch": 2} | recipe))
    return TrainRun(name, spec, torch.empty(0), None, replicate, feed=Feed(base, pictures, spec.trains_text, prior))


# --- order --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "batch"), [(3, 2), (5, 4), (2, 5), (4, 4)])
def test_a_single_bucket_has_the_order_that_there_is_without_buckets(n: int, batch: int):
    plain = [each.tolist() for each in itertools.islice(sample_order(7, 1, n, batch), 12)]
    assert [places for _, places in itertools.islice(sample_bucketed_order(7, 1, ["one"] * n, batch), 12)] == plain


def test_every_step_is_of_one_bucket_and_nothing_is_left_out():
    """6 + 3 + 1 pictures, batches of 4: in 40 epochs (400 showings) each comes 40 times."""
    buckets = ["a"] * 6 + ["b"] * 3 + ["c"]
    counts: Counter[int] = Counter()
    for epochs, places in sample_bucketed_order(0, 0, buckets, 4):
        if min(epochs) > 40:
            break
        assert len({buckets[place] for place in places}) == 1
        assert len(places) == 4
        counts.update(place for epoch, place in zip(epochs, places, strict=True) if epoch <= 40)
    assert set(counts.values()) == {40}


def test_noise_of_a_fixed_shape_is_as_before():
    stream, shape = NoiseStream(3, 2, 1000), (2, 4, 8, 8)
    for noise, timesteps in itertools.islice(sample_noise(3, 2, shape, 1000), 3):
        other = stream.draw(shape)
        assert torch.equal(noise, other[0])
        assert torch.equal(timesteps, other[1])


def test_runs_on_several_resolutions_get_stacks_of_their_own():
    spec = TrainSpec()
    assert pack_runs([("a", spec), ("b", spec), ("c", spec), ("d", spec)], 16, {"b", "c"}) == [["a", "d"], ["b"], ["c"]]


# --- what is shown ------------------------------------------------------------------------------------------------------


def test_regularisation_pictures_are_shown_as_often_as_training_pictures():
    pictures = [picture(0, num_repeats=3), picture(1, num_repeats=2), picture(2, is_reg=True, num_repeats=9), picture(3, is_reg=True)]
    assert Counter(make_showings(pictures)) == {0: 3, 1: 2, 2: 3, 3: 2}
    assert make_showings(pictures[:2]) == [0, 0, 0, 1, 1]


def test_half_of_the_showings_are_mirrored():
    """Binomial with n = 2,000: .5 give or take 4 standard errors (.045)."""
    mirrored = [draw_cut(picture(0, flip_aug=True), 0, (0, epoch, 0)).mirrored for epoch in range(2000)]
    assert abs(np.mean(mirrored) - 0.5) < 0.045
    assert not any(draw_cut(picture(0), 0, (0, epoch, 0)).mirrored for epoch in range(50))


def test_crops_are_central_or_reach_every_place():
    plain = picture(0, size=(18, 16), bucket=(16, 16))
    assert (draw_cut(plain, 0, (0, 1, 0)).left, draw_cut(plain, 0, (0, 1, 0)).top) == (1, 0)
    drawn = picture(0, size=(18, 16), bucket=(16, 16), random_crop=True)
    assert Counter(draw_cut(drawn, 0, (0, epoch, 0)).left for epoch in range(300)).keys() == {0, 1, 2}
    cut = draw_cut(drawn, 0, (0, 1, 0))
    assert np.array_equal(cut_pixels(drawn, drawn.image, cut), drawn.image[:, cut.left : cut.left + 16])


def test_a_showing_does_not_depend_on_the_batch(tiny_base: Any):
    """The same pictures, cuts and captions come in the same order in batches of 1 and of 3."""
    pictures = [picture(k, size=(18, 16), bucket=(16, 16), random_crop=True, flip_aug=True, shuffle_caption=True) for k in range(3)]
    single = itertools.islice(Feed(tiny_base, pictures, False).showings(0, 0, 1), 6)
    triple = itertools.islice(Feed(tiny_base, pictures, False).showings(0, 0, 3), 2)
    ones, threes = list(single), list(triple)
    assert torch.equal(torch.cat([each.latents for each in ones]), torch.cat([each.latents for each in threes]))
    assert torch.equal(torch.cat([each.text for each in ones]), torch.cat([each.text for each in threes]))


# --- loss ---------------------------------------------------------------------------------------------------------------


def test_weighted_and_masked_losses_by_hand():
    """Errors 1 and 2, squares 1 and 4. Weights 1 and .5: (1 + 2) / 2. A mask over half of the second: (1 + 2) / 2."""
    predicted, target = torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    half = torch.ones(2, 1, 2, 2)
    half[1, :, 0] = 0
    assert run_losses(predicted, target, 1).item() == 2.5
    assert run_losses(predicted, target, 1, weights=torch.tensor([1.0, 0.5])).item() == 1.5
    assert run_losses(predicted, target, 1, masks=half).item() == 1.5
    assert run_losses(predicted, target, 2, torch.tensor([1.0, 0.5]), half).tolist() == [1.0, 1.0]


# --- training -----------------------------------------------------------------------------------------------------------


def test_a_feed_that_asks_for_nothing_trains_as_without_one_bit_for_bit(tiny_base: Any):
    pictures = [picture(k, caption=caption) for k, caption in enumerate("abc")]
    pixels = torch.stack([torch.from_numpy(each.image) for each in pictures]).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    latents = torch.cat([encode_images(tiny_base, each[None]) for each in pixels])
    plain = TrainRun("plain", TrainSpec(steps=4, batch=2), latents, embed_prompts(tiny_base, list("abc")), 0)
    assert torch.equal(trained(tiny_base, plain)[0], trained(tiny_base, fed(tiny_base, pictures))[0])
    together = trained(tiny_base, plain, fed(tiny_base, pictures))
    assert torch.equal(*together)


def test_buckets_train_on_their_own_resolutions_and_repeat_bit_for_bit(tiny_base: Any):
    pictures = [picture(0, size=(24, 8)), picture(1, size=(8, 24)), picture(2), picture(3)]
    shapes = [tuple(each.latents.shape[1:]) for each in itertools.islice(Feed(tiny_base, pictures, False).showings(0, 0, 2), 12)]
    assert set(shapes) == {(4, 4, 12), (4, 12, 4), (4, 8, 8)}
    first, second = (trained(tiny_base, fed(tiny_base, pictures, steps=8))[0] for _ in range(2))
    assert torch.equal(first, second)


BLANK = np.zeros((16, 16), np.uint8)


@pytest.mark.parametrize("changed", [
    {"options": {"shuffle_caption": True}}, {"options": {"caption_dropout_rate": 0.9}}, {"options": {"flip_aug": True}},
    {"mask": np.tril(np.full((16, 16), 255, np.uint8))},
])  # fmt: skip
def test_every_option_changes_what_is_learned(tiny_base: Any, changed: dict[str, Any]):
    base = trained(tiny_base, fed(tiny_base, [picture(k) for k in range(3)]))[0]
    other = [picture(k, mask=changed.get("mask"), **changed.get("options", {})) for k in range(3)]
    assert (trained(tiny_base, fed(tiny_base, other))[0] - base).abs().max() > 1e-5


def test_a_picture_masked_as_a_whole_teaches_nothing(tiny_base: Any):
    """The loss is 0, and so is the gradient: `up`, which begins at 0, stays there."""
    run = fed(tiny_base, [picture(k, mask=BLANK) for k in range(2)], weight_decay=0)
    (found,), losses = outcome(tiny_base, run)
    assert losses == [[0.0]] * 4
    assert all(float(up.abs().max()) == 0 for _, up in found.adapter.weights.values())


def test_a_prior_loss_weight_of_nought_silences_regularisation_pictures(tiny_base: Any):
    """With weight 0 it does not matter what they show; with weight 1 it does."""
    one, other = ([picture(0), picture(1), picture(seed, is_reg=True, caption="x")] for seed in (5, 6))
    silent = [trained(tiny_base, fed(tiny_base, pictures, prior=0.0))[0] for pictures in (one, other)]
    heard = [trained(tiny_base, fed(tiny_base, pictures, prior=1.0))[0] for pictures in (one, other)]
    assert torch.equal(*silent)
    assert not torch.equal(*heard)


def test_captions_are_drawn_also_where_the_text_encoder_is_trained(tiny_base: Any):
    recipe = {"text_encoder_lr": 1e-4, "steps": 3}
    fixed = trained(tiny_base, fed(tiny_base, [picture(k) for k in range(2)], **recipe))[0]
    drawn = trained(tiny_base, fed(tiny_base, [picture(k, shuffle_caption=True) for k in range(2)], **recipe))[0]
    assert not torch.equal(fixed, drawn)

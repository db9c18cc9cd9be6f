"""A stack cut into parts that train beside each other: the same runs come out."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from loralab.adapters import adapter_sha256
from loralab.bases import Base
from loralab.crew import ALONE, crew_of
from loralab.data import TrainingPicture
from loralab.spec.datasets import SubsetSpec
from loralab.spec.models import TrainSpec
from loralab.train import Feed, TrainedRun, TrainRun, train_in_parts, train_stack
from loralab.train.parts import parts_for
from loralab.train.preserving import preserved_caption
from tests.support.loops import finish


def make_runs(n: int, **recipe: Any) -> list[TrainRun]:
    generator = torch.Generator().manual_seed(5)
    latents, embeddings = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 12, 16, generator=generator)
    spec = TrainSpec(**({"rank": 2, "steps": 5, "batch": 2} | recipe))
    return [TrainRun(str(k), spec, latents + 0.1 * k, embeddings, replicate=k % 3) for k in range(n)]


def weights_of(trained: TrainedRun) -> torch.Tensor:
    return torch.cat([factor.flatten() for pair in trained.adapter.weights.values() for factor in pair])


@pytest.mark.usefixtures("one_thread", "forked_crews")
@pytest.mark.parametrize("n", [8, 11])
def test_parts_train_what_the_whole_stack_trains(tiny_base: Base, n: int):
    runs = make_runs(n)
    whole, whole_steps = finish(train_in_parts(tiny_base, runs, ALONE, root_seed=1, keep={2}))
    with crew_of(2, 2) as crew:
        parts, steps = finish(train_in_parts(tiny_base, runs, crew, root_seed=1, keep={2}))
    assert [run.run_id for run in parts] == [run.run_id for run in whole]
    assert [run.initial_sha256 for run in parts] == [run.initial_sha256 for run in whole]
    for one, other in zip(parts, whole, strict=True):
        assert (weights_of(one) - weights_of(other)).abs().max() < 1e-5  # as packed against separate
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    for step, expected in zip(steps, whole_steps, strict=True):
        assert step.losses == pytest.approx(expected.losses, rel=1e-4)
        assert len(step.adapters) == len(expected.adapters)


@pytest.mark.usefixtures("one_thread")
def test_parts_beside_each_other_are_those_trained_here_bit_for_bit(tiny_base: Base):
    runs = make_runs(8)
    with crew_of(2, 2) as crew:
        parts = finish(train_in_parts(tiny_base, runs, crew, root_seed=1))[0]
    here = [run for part in (runs[:4], runs[4:]) for run in finish(train_stack(tiny_base, part, root_seed=1))[0]]
    assert [adapter_sha256(run.adapter) for run in parts] == [adapter_sha256(run.adapter) for run in here]
    assert [run.losses for run in parts] == [run.losses for run in here]


def test_how_many_parts_a_stack_has(tiny_base: Base):
    assert [parts_for(make_runs(n), 2) for n in (1, 7, 8, 16)] == [1, 1, 2, 2]
    assert parts_for(make_runs(16), 1) == 1
    assert parts_for(make_runs(16), 8) == 4
    small, large = (Feed(tiny_base, [picture(1, side)] * 2, False) for side in (16, 1024))
    for shared, n in ((small, 2), (large, 1)):
        fed = [TrainRun(run.run_id, run.spec, run.latents, None, 0, feed=shared) for run in make_runs(16)]
        assert parts_for(fed, 2) == n


def picture(number: int, side: int = 16) -> TrainingPicture:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    options = SubsetSpec(image_dir="x", flip_aug=True, shuffle_caption=True)
    return TrainingPicture(pixels, None, "a, b, cat", options, (side, side))


@pytest.mark.usefixtures("one_thread")
def test_arms_whose_pictures_are_shown_otherwise_are_trained_in_parts_too(tiny_base: Base):
    """Two arms share two feeds, one of them under a preserved caption; each part encodes for itself, to the same bits."""
    spec = TrainSpec(rank=2, steps=4, batch=2, blank_prompt_preservation=True)
    feeds = [Feed(tiny_base, [picture(k), picture(k + 1)], False, preserve=partial(preserved_caption, spec)) for k in (0, 5)]
    runs = [TrainRun(str(k), spec, torch.empty(0), None, k % 4, feed=feeds[k % 2]) for k in range(8)]
    with crew_of(2, 2) as crew:
        parts = finish(train_in_parts(tiny_base, runs, crew, root_seed=1))[0]
    assert feeds[0].base is tiny_base
    here = [run for part in (runs[:4], runs[4:]) for run in finish(train_stack(tiny_base, part, root_seed=1))[0]]
    assert [adapter_sha256(run.adapter) for run in parts] == [adapter_sha256(run.adapter) for run in here]

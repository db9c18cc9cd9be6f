"""Batches drawn beside each other: the pictures of one batch after the other, in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loralab.adapters import Adapter, make_adapter
from loralab.bases import Base, embed_prompts
from loralab.crew import crew_of
from loralab.sample import ImageBlock, plan_batches, sample_batch, sample_batches
from loralab.spec.models import SampleSpec, TrainSpec


def trained_like(base: Base, seed: int) -> Adapter:
    """Return a LoRA that changes something: a new one has zeros in `up`."""
    made, generator = make_adapter(base, TrainSpec(rank=2), seed), torch.Generator().manual_seed(seed)
    weights = {path: (down, torch.randn(up.shape, generator=generator) * 0.3) for path, (down, up) in made.weights.items()}
    return Adapter(weights, made.alpha, made.rank)


@pytest.mark.usefixtures("one_thread", "forked_crews")
@pytest.mark.parametrize("n_processes", [1, 2])
def test_batches_beside_each_other_are_those_one_after_the_other(tiny_base: Base, n_processes: int):
    adapters, spec = {name: trained_like(tiny_base, seed) for seed, name in enumerate("abc")}, SampleSpec(steps=3, guidance=3)
    embeddings = dict(zip(["cat", ""], embed_prompts(tiny_base, ["cat", ""]), strict=True))
    batches = plan_batches([ImageBlock(name, "cat", 1.0, tuple(range(4))) for name in (None, *adapters)], 4)
    with crew_of(n_processes, n_processes) as crew:
        found = list(sample_batches(tiny_base, batches, adapters, spec, embeddings, crew))
    expected = [sample_batch(tiny_base, batch, adapters, spec, embeddings) for batch in batches]
    assert len(batches) == 4
    assert any(not np.array_equal(expected[0], other) for other in expected[1:])  # another LoRA, another picture
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)

"""Batches drawn beside each other: the pictures of one batch after the other, in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loralab.adapters import Adapter, make_adapter
from loralab.bases import Base, embed_prompts
from loralab.sample import ImageBlock, plan_batches, sample_batch, sample_batches
from loralab.spec.models import SampleSpec, TrainSpec


def trained_like(base: Base, seed: int) -> Adapter:
    """Return an adapter that changes something: a new one has zeros in `up`."""
    made, generator = make_adapter(base, TrainSpec(rank=2), seed), torch.Generator().manual_seed(seed)
    weights = {path: (down, torch.randn(up.shape, generator=generator) * 0.3) for path, (down, up) in made.weights.items()}
    return Adapter(weights, made.alpha, made.rank)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_batches_beside_each_other_are_those_one_after_the_other(tiny_base: Base, side_by_side: bool):
    adapters, spec = {name: trained_like(tiny_base, seed) for seed, name in enumerate("abc")}, SampleSpec(steps=3, guidance=3)
    embeddings = dict(zip(["cat", ""], embed_prompts(tiny_base, ["cat", ""]), strict=True))
    batches = plan_batches([ImageBlock(name, "cat", 1.0, tuple(range(4))) for name in (None, *adapters)], 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if side_by_side else 1)
    try:
        found = list(sample_batches(tiny_base, batches, adapters, spec, embeddings, side_by_side=side_by_side))
        assert torch.get_num_threads() == (2 if side_by_side else 1)
    finally:
        torch.set_num_threads(threads)
    expected = [sample_batch(tiny_base, batch, adapters, spec, embeddings) for batch in batches]
    assert len(batches) == 4
    assert any(not np.array_equal(expected[0], other) for other in expected[1:])  # another LoRA, another picture
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    assert not any("forward" in module.__dict__ for module in tiny_base.unet.modules())

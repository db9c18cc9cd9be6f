"""The plumbing check of a study: what passes, what does not, and a machinery at fault that it must catch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loralab.adapters import Adapter, make_adapter
from loralab.bases import embed_prompts
from loralab.spec import AdapterSource, SampleSpec, TrainSpec
from loralab.stages import plumbing

pytestmark = pytest.mark.usefixtures("one_thread")
BUSY, IDLE = AdapterSource("busy", 0), AdapterSource("idle", 0)
SAMPLE = SampleSpec(steps=2, guidance=3, seeds=2)


def checked(base) -> dict[str, dict[AdapterSource, bool | float]]:
    """Return the check of a LoRA that does something and one, untrained, that does nothing."""
    idle = make_adapter(base, TrainSpec(rank=2), 1)
    generator = torch.Generator().manual_seed(3)
    busy = Adapter({p: (down, torch.randn(up.shape, generator=generator)) for p, (down, up) in idle.weights.items()}, 2.0, 2)
    embeddings = dict(zip(["ab", ""], embed_prompts(base, ["ab", ""]), strict=True))
    return plumbing.compare(base, SAMPLE, {BUSY: busy, IDLE: idle}, "ab", embeddings)


def test_strength_0_is_the_base_and_strength_1_is_not(tiny_base):
    found = checked(tiny_base)
    assert found["same_at_zero"] == {BUSY: True, IDLE: True}
    assert found["moved_at_one"][BUSY] > 0
    assert found["moved_at_one"][IDLE] == 0


def test_an_adapter_that_leaks_at_strength_0_is_caught(tiny_base, monkeypatch):
    right = plumbing.sample_batch

    def leaking(base, batch, *rest) -> np.ndarray:
        images = right(base, batch, *rest)
        images[[k for k, (name, strength) in enumerate(batch.groups) if name == BUSY and strength == 0]] ^= 1
        return images

    monkeypatch.setattr(plumbing, "sample_batch", leaking)
    assert checked(tiny_base)["same_at_zero"] == {BUSY: False, IDLE: True}

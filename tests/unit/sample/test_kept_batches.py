"""Batches that are kept: the same pictures come back, and only to the drawing that they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.adapters import Adapter, make_adapter
from loralab.bases import Base
from loralab.crew import ALONE
from loralab.sample import Batch, KeptBatches
from loralab.spec.models import SampleSpec, TrainSpec

BATCH = Batch(((None, 1.0), ("a", 0.5)), ((("cat", 0), ("cat", 1)), (("cat", 0), ("dog", 1))))


def kept(base: Base, folder: Path) -> KeptBatches:
    embeddings = {prompt: torch.full((2, 3), float(len(prompt))) for prompt in ("cat", "dog", "")}
    return KeptBatches(folder, base, SampleSpec(steps=3), {"a": make_adapter(base, TrainSpec(rank=2), 0)}, embeddings, ALONE)


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (2, 2, 16, 16, 3), dtype=np.uint8)


def test_a_kept_batch_comes_back(tiny_base: Base, tmp_path: Path):
    first = kept(tiny_base, tmp_path)
    assert not first.has(BATCH)
    first.save(BATCH, pictures())
    again = kept(tiny_base, tmp_path)
    assert again.has(BATCH)
    assert np.array_equal(again.load(BATCH), pictures())


def moved(adapter: Adapter) -> Adapter:
    weights = {path: (down, up + 1e-6) for path, (down, up) in adapter.weights.items()}
    return Adapter(weights, adapter.alpha, adapter.rank)


@pytest.mark.parametrize("changed", ["adapter", "strength", "seed", "steps", "text", "base", "threads"])
def test_what_pictures_depend_on_is_in_their_name(tiny_base: Base, tmp_path: Path, changed: str):
    own = kept(tiny_base, tmp_path)
    other, batch, threads = kept(tiny_base, tmp_path), BATCH, torch.get_num_threads()
    if changed == "adapter":
        other.adapters = {"a": moved(own.adapters["a"])}
    elif changed == "steps":
        other.spec = SampleSpec(steps=4)
    elif changed == "text":
        other.embeddings = {**own.embeddings, "dog": own.embeddings["dog"] + 1e-6}
    elif changed == "base":
        other.base = replace(tiny_base, fingerprint="f" * 64)
    elif changed == "strength":
        batch = Batch(((None, 1.0), ("a", 0.6)), BATCH.items)
    elif changed == "seed":
        batch = Batch(BATCH.groups, ((("cat", 0), ("cat", 2)), BATCH.items[1]))
    before = own.path(BATCH)
    try:
        torch.set_num_threads(threads + 1 if changed == "threads" else threads)
        assert other.path(batch) != before
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("damage", [b"", b"x" * 400, "cut"])
def test_a_damaged_batch_is_not_there(tiny_base: Base, tmp_path: Path, damage: bytes | str):
    own = kept(tiny_base, tmp_path)
    own.save(BATCH, pictures())
    file = own.path(BATCH)
    file.write_bytes(file.read_bytes()[:500] if isinstance(damage, str) else damage)
    assert not own.has(BATCH)
    assert not file.exists()

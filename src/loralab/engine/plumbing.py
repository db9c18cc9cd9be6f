"""Does the machinery do what it says, in this very study: at strength 0 every LoRA is the base, at strength 1 it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base
from loralab.sample import Batch, sample_batch
from loralab.sample.batches import Group
from loralab.spec import AdapterSource, SampleSpec, slice_of
from loralab.store import Store, artefact_key

PLUMBING_VERSION = 2
KIND = "plumbing"
#: enough solver steps for an error to show, few enough to cost nothing.
STEPS = 4


@dataclass(frozen=True)
class Plumbing:
    """By adapter: whether its picture at strength 0 is the base's, pixel for pixel, and how far strength 1 moves a pixel (of 255, mean)."""

    same_at_zero: Mapping[AdapterSource, bool]
    moved_at_one: Mapping[AdapterSource, float]


def check_plumbing(
    store: Store, base: Base, sample: SampleSpec, adapters: Mapping[AdapterSource, Adapter], keys: Mapping[AdapterSource, str], prompt: str,
    embeddings: Mapping[str, torch.Tensor],
) -> Plumbing:  # fmt: skip
    """Return what two batches of one noise show: the base alone, and in its places every adapter at strength 0 and at strength 1."""
    recipe = sample.model_copy(update={"steps": min(STEPS, sample.steps), "seeds": 1})
    spec_slice = {"sample": slice_of(recipe, exclude={"unrelated"}), "prompt": prompt, "runs": list(map(str, adapters))}
    key = artefact_key("plumbing", PLUMBING_VERSION, spec_slice, [base.fingerprint, *(keys[source] for source in adapters)])
    if not store.has(KIND, key):
        found = _compare(base, recipe, adapters, prompt, embeddings)
        told = ({str(source): value for source, value in by.items()} for by in (found.same_at_zero, found.moved_at_one))
        with store.publish(KIND, key, dict(zip(("same_at_zero", "moved_at_one"), told, strict=True))):
            pass  # all there is stands in the manifest
    manifest = store.manifest(KIND, key)
    return Plumbing(*({source: manifest[name][str(source)] for source in adapters} for name in ("same_at_zero", "moved_at_one")))


def _compare(
    base: Base, recipe: SampleSpec, adapters: Mapping[AdapterSource, Adapter], prompt: str, embeddings: Mapping[str, torch.Tensor]
) -> Plumbing:
    # place by place: a processor's kernels may round the same picture differently in another place of a batch
    bare = _draw(base, recipe, ((None, 0.0),) * (2 * len(adapters)), {}, prompt, embeddings)
    adapted = ((source, strength) for strength in (0.0, 1.0) for source in adapters)
    drawn = _draw(base, recipe, tuple(adapted), adapters, prompt, embeddings)
    n = len(adapters)
    return Plumbing(
        {source: bool((drawn[i] == bare[i]).all()) for i, source in enumerate(adapters)},
        {source: round(float(np.abs(drawn[n + i].astype(int) - bare[n + i]).mean()), 3) for i, source in enumerate(adapters)},
    )


def _draw(
    base: Base, recipe: SampleSpec, groups: Sequence[Group], adapters: Mapping[AdapterSource, Adapter], prompt: str,
    embeddings: Mapping[str, torch.Tensor],
) -> np.ndarray:  # fmt: skip
    return sample_batch(base, Batch(tuple(groups), (((prompt, 0),),) * len(groups)), adapters, recipe, embeddings)[:, 0]

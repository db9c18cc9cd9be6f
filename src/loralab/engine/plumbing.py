"""Does the machinery do what it says, in this very study: at strength 0 every LoRA is the base, at strength 1 it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base
from loralab.sample import Batch, sample_batch
from loralab.spec import SampleSpec
from loralab.store import Store, artefact_key

PLUMBING_VERSION = 2
KIND = "plumbing"
#: enough solver steps for an error to show, few enough to cost nothing.
STEPS = 4


@dataclass(frozen=True)
class Plumbing:
    """By run: whether its picture at strength 0 is the base's, pixel for pixel, and how far strength 1 moves a pixel (of 255, mean)."""

    same_at_zero: Mapping[str, bool]
    moved_at_one: Mapping[str, float]


def check_plumbing(
    store: Store, base: Base, sample: SampleSpec, adapters: Mapping[str, Adapter], keys: Mapping[str, str], prompt: str,
    embeddings: Mapping[str, torch.Tensor],
) -> Plumbing:  # fmt: skip
    """Return what two batches of one noise show: the base alone, and in its places every adapter at strength 0 and at strength 1."""
    recipe = sample.model_copy(update={"steps": min(STEPS, sample.steps), "seeds": 1})
    spec_slice = {"sample": recipe.model_dump(mode="json", exclude={"unrelated"}), "prompt": prompt, "runs": list(adapters)}
    key = artefact_key("plumbing", PLUMBING_VERSION, spec_slice, [base.fingerprint, *(keys[run_id] for run_id in adapters)])
    if not store.has(KIND, key):
        found = _compare(base, recipe, adapters, prompt, embeddings)
        with store.publish(KIND, key, {"same_at_zero": found.same_at_zero, "moved_at_one": found.moved_at_one}):
            pass  # all there is stands in the manifest
    manifest = store.manifest(KIND, key)
    return Plumbing(manifest["same_at_zero"], manifest["moved_at_one"])


def _compare(
    base: Base, recipe: SampleSpec, adapters: Mapping[str, Adapter], prompt: str, embeddings: Mapping[str, torch.Tensor]
) -> Plumbing:
    # place by place: a processor's kernels may round the same picture differently in another place of a batch
    bare = _draw(base, recipe, ((None, 0.0),) * (2 * len(adapters)), {}, prompt, embeddings)
    adapted = ((run_id, strength) for strength in (0.0, 1.0) for run_id in adapters)
    drawn = _draw(base, recipe, tuple(adapted), adapters, prompt, embeddings)
    n = len(adapters)
    return Plumbing(
        {run_id: bool((drawn[i] == bare[i]).all()) for i, run_id in enumerate(adapters)},
        {run_id: round(float(np.abs(drawn[n + i].astype(int) - bare[n + i]).mean()), 3) for i, run_id in enumerate(adapters)},
    )


def _draw(
    base: Base, recipe: SampleSpec, groups: Sequence[tuple[str | None, float]], adapters: Mapping[str, Adapter], prompt: str,
    embeddings: Mapping[str, torch.Tensor],
) -> np.ndarray:  # fmt: skip
    return sample_batch(base, Batch(tuple(groups), (((prompt, 0),),) * len(groups)), adapters, recipe, embeddings)[:, 0]

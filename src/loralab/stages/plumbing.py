"""Does the machinery do what it says, in this very study: at strength 0 every LoRA is the base, at strength 1 it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base
from loralab.sample import Batch, sample_batch
from loralab.sample.batches import Group as Drawn
from loralab.spec import AdapterSource, SampleSpec
from loralab.stages.images import text_of
from loralab.stages.trained import load_from
from loralab.study.slices import CheckSlice
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work


def make_checks(work: Work, place: Place) -> Iterator[Message]:
    """Check adapters: all there is to keep stands in the manifest."""
    base = place.bases[work.group.base]
    for task in work.missing:
        its: CheckSlice = task.spec
        inputs = zip(its.sources, task.inputs, strict=True)
        adapters = {source: load_from(work.folders[ref], base) for source, ref in inputs if ref in work.folders}
        told = compare(base, its.drawing.sample, adapters, its.prompt, text_of(place, base, its.drawing))
        work.folder(task.ref)
        yield Made(task.ref, {name: {str(source): value for source, value in by.items()} for name, by in told.items()})


def compare(
    base: Base, recipe: SampleSpec, adapters: Mapping[AdapterSource, Adapter | None], prompt: str, embeddings: Mapping[str, torch.Tensor]
) -> dict[str, dict[AdapterSource, bool | float]]:
    """Return what two batches of one noise show: the base alone, and in its places every adapter at strength 0 and at strength 1.

    By adapter: whether its picture at strength 0 is the base's, pixel for pixel, and how far strength 1 moves a pixel (of 255, mean).
    """
    # place by place: a processor's kernels may round the same picture differently in another place of a batch
    bare = _draw(base, recipe, ((None, 0.0),) * (2 * len(adapters)), {}, prompt, embeddings)
    adapted = ((source, strength) for strength in (0.0, 1.0) for source in adapters)
    drawn = _draw(base, recipe, tuple(adapted), adapters, prompt, embeddings)
    n = len(adapters)
    return {
        "same_at_zero": {source: bool((drawn[i] == bare[i]).all()) for i, source in enumerate(adapters)},
        "moved_at_one": {
            source: round(float(np.abs(drawn[n + i].astype(int) - bare[n + i]).mean()), 3) for i, source in enumerate(adapters)
        },
    }


def _draw(
    base: Base, recipe: SampleSpec, groups: Sequence[Drawn], adapters: Mapping[AdapterSource, Adapter | None], prompt: str,
    embeddings: Mapping[str, torch.Tensor],
) -> np.ndarray:  # fmt: skip
    known = {source: adapter for source, adapter in adapters.items() if adapter is not None}
    return sample_batch(base, Batch(tuple(groups), (((prompt, 0),),) * len(groups)), known, recipe, embeddings)[:, 0]

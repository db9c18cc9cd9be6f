"""Batches drawn beside each other: on a processor, threads with a batch each wait for nobody; in and out as `sample_batch`, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base, structural_twin
from loralab.sample.batches import Batch
from loralab.sample.sampler import sample_batch
from loralab.spec.models import SampleSpec


def sample_batches(
    base: Base, batches: Sequence[Batch], adapters: Mapping[str, Adapter], spec: SampleSpec, embeddings: Mapping[str, torch.Tensor],
    *, side_by_side: bool = False,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield the pictures (K, B, H, W, 3) uint8 of each batch; ``side_by_side`` draws as many at once as torch has threads on a processor.

    Pictures may then differ by 1/255 from those of threads that share each operator.
    """
    threads = torch.get_num_threads()
    n = min(threads, len(batches)) if side_by_side and base.device.type == "cpu" else 1
    if n <= 1:
        yield from (sample_batch(base, batch, adapters, spec, embeddings) for batch in batches)
        return
    free: SimpleQueue[Base] = SimpleQueue()
    for _ in range(n):
        free.put(structural_twin(base))

    def draw(batch: Batch) -> np.ndarray:
        twin = free.get()
        try:
            return sample_batch(twin, batch, adapters, spec, embeddings)
        finally:
            free.put(twin)

    with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(threads // n,)) as workers:
        try:
            yield from workers.map(draw, batches)
        finally:
            workers.shutdown(wait=True, cancel_futures=True)

"""Batches drawn beside each other: processes with a batch each wait for nobody; in and out as `sample_batch`, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base
from loralab.crew import Crew
from loralab.sample.batches import Batch
from loralab.sample.sampler import sample_batch
from loralab.spec.models import SampleSpec


def sample_batches(
    base: Base, batches: Sequence[Batch], adapters: Mapping[Any, Adapter], spec: SampleSpec, embeddings: Mapping[str, torch.Tensor],
    crew: Crew,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Yield the pictures (K, B, H, W, 3) uint8 of each batch; processes of the crew draw one each at a time.

    One thread's pictures may differ by 1/255 from those of threads that share each operator.
    """
    calls = [(crew.lend(base), batch, _adapters_of(batch, adapters), spec, crew.lend(embeddings)) for batch in batches]
    with crew.results(sample_batch, calls) as drawn:
        yield from drawn


def _adapters_of(batch: Batch, adapters: Mapping[Any, Adapter]) -> dict[Any, Adapter]:
    named = (adapter_id for adapter_id, *_ in batch.groups if adapter_id is not None)
    return {name: adapters[name] for name in named if name in adapters}

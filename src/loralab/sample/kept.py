"""Batches that were drawn and whose blocks were not whole yet: kept on disk, so that a kill does not undo them.

A batch is one file, whole or absent, whose name is the hash of all that its pictures depend on: another drawing's is never found.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loralab.adapters import Adapter, adapter_sha256
from loralab.bases import Base
from loralab.crew import Crew
from loralab.portable import remove
from loralab.sample.batches import Batch
from loralab.spec.models import SampleSpec
from loralab.store import canonical_json, write_atomically
from loralab.train.kept import CODE, code_sha256

#: raised when the same batch is drawn in another way
VERSION = 1


@dataclass
class KeptBatches:
    """The batches in ``folder`` that belong to a drawing; adapters and embeddings as `sample_batch` takes them."""

    folder: Path
    base: Base
    spec: SampleSpec
    adapters: Mapping[Any, Adapter]
    embeddings: Mapping[str, torch.Tensor]
    crew: Crew
    hashes: dict[Hashable, str] = field(default_factory=dict)  # of the adapters that were asked for

    def has(self, batch: Batch) -> bool:
        """Return whether the batch's pictures are there, whole; a damaged file is removed."""
        file = self.path(batch)
        try:
            whole = _read(file).shape[:2] == (len(batch.groups), len(batch.items[0]))
        except FileNotFoundError:
            return False
        except (ValueError, EOFError):
            whole = False
        if not whole:
            remove(file)
        return whole

    def load(self, batch: Batch) -> np.ndarray:
        """Return the pictures (K, B, H, W, 3) uint8 of a batch that is there."""
        return _read(self.path(batch))

    def save(self, batch: Batch, images: np.ndarray) -> None:
        """Keep the batch's pictures."""
        content = io.BytesIO()
        np.save(content, images, allow_pickle=False)
        write_atomically(self.path(batch), content.getvalue())

    def path(self, batch: Batch) -> Path:
        """Return the batch's file, there or not."""
        base = self.base
        prompts = dict.fromkeys([self.spec.negative, *(prompt for items in batch.items for prompt, _ in items)])
        told = {
            "version": VERSION, "code": code_sha256((*CODE, "sample")), "base": base.fingerprint, "device": str(base.device),
            "scheduler": repr(sorted(base.scheduler_config.items())), "dtype": str(base.dtype), "size_px": base.size_px,
            "threads": self.crew.threads if self.crew.n > 1 else torch.get_num_threads(), "processes": self.crew.n > 1,
            "machine": torch.backends.cpu.get_cpu_capability(), "sample": self.spec.model_dump(mode="json", exclude={"seeds", "unrelated"}),
            "groups": [[self._adapter(name), strength] for name, strength in batch.groups], "items": [list(items) for items in batch.items],
            "texts": [[prompt, _sha256(self.embeddings[prompt])] for prompt in prompts if prompt in self.embeddings],
        }  # fmt: skip
        return self.folder / f"batch-{hashlib.sha256(canonical_json(told).encode()).hexdigest()[:32]}.npy"

    def _adapter(self, name: Hashable | None) -> str:
        if name is None:
            return ""
        if name not in self.hashes:
            self.hashes[name] = adapter_sha256(self.adapters[name])
        return self.hashes[name]


def _read(file: Path) -> np.ndarray:
    found: np.ndarray = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    return found


def _sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(f"{tuple(tensor.shape)}".encode() + tensor.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()

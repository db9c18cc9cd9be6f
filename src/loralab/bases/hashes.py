"""Hashes by which the field's tools know a checkpoint: a base in, the short and the whole hash of its weights' file out."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

from loralab.bases.base import Base

SHORT_START, SHORT_LENGTH = 0x100000, 0x10000


class ModelHashes(NamedTuple):
    """``short``: 8 hex of the sha256 over 64 KiB from 1 MiB on (the web UIs' old hash); ``sha256``: 64 hex over the whole file."""

    short: str
    sha256: str


def model_hashes(base: Base) -> ModelHashes | None:
    """Return the hashes of the file that holds the base's denoiser; None where there is no such single file."""
    if base.weights is None:
        return None
    state = base.weights.stat()
    return hashes_of(base.weights, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def hashes_of(file: Path, size: int, modified_ns: int) -> ModelHashes:
    """Return the hashes of ``file``; its size and time are there so that a file that has changed is read again."""
    with file.open("rb") as stream:
        stream.seek(SHORT_START)
        short = hashlib.sha256(stream.read(SHORT_LENGTH)).hexdigest()[:8]
        stream.seek(0)
        whole = hashlib.file_digest(stream, "sha256").hexdigest()
    return ModelHashes(short, whole)

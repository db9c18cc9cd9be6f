"""Keys of artefacts: JSON-able slices of a study and the keys of the inputs go in, a short hash comes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

KEY_HEX_DIGITS = 32


class Ref(NamedTuple):
    """An artefact: the folder ``kind``/``key`` of the store."""

    kind: str
    key: str


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, no NaN; raises ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def artefact_key(stage: str, version: int, spec_slice: Any, inputs: Sequence[str] = ()) -> str:
    """Return the key of what ``stage`` (at ``version`` of its code) makes of ``spec_slice`` and the artefacts ``inputs``, in order."""
    text = canonical_json({"stage": stage, "version": version, "spec": spec_slice, "inputs": list(inputs)})
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_HEX_DIGITS]


def fingerprint_of(folder: Path) -> str:
    """Return the sha256 (hex) over the names and bytes of every file of a pipeline that shapes its pictures."""
    digest = hashlib.sha256()
    shaping = (item for item in folder.rglob("*") if item.is_file() and item.suffix in (".safetensors", ".json", ".txt"))
    for file in sorted(shaping, key=lambda item: item.relative_to(folder).parts):  # paths themselves sort without case on Windows
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()

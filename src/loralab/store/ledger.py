"""Append-only records, one JSON object a line: what was attempted stays on record, also when it was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loralab.portable import append_bytes
from loralab.store.disk import disk_errors
from loralab.store.keys import canonical_json


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one record; a single write to a file opened for appending, so that two processes do not interleave."""
    with disk_errors(f"writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        append_bytes(path, (canonical_json(record) + "\n").encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records; a last line that a crash cut short is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records

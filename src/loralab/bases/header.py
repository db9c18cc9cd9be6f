"""The header of a safetensors file, checked before a byte of its tensors is read: a path in, names, types and shapes out."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loralab.errors import LabError, lab_error

#: bytes of one value, by the format's own names; a checkpoint may hold whole numbers too (position ids), which are never read.
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
QUANTISED = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "U4", "I4")
MAX_HEADER_BYTES = 100 << 20  # the format's own limit
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch's zip archives, and bare pickles
CONVERT = (
    "convert it with diffusers' scripts/convert_original_stable_diffusion_to_diffusers.py --to_safetensors, on a machine you can "
    "afford to lose: just opening the pickle is the risk"
)


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself: shapes and types by tensor name, and its metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Return the header of the safetensors file at ``path``; raises LabError("model") for a pickle and for a file that is not whole.

    Lengths, types and offsets are checked: every tensor lies inside the file, none shares bytes with another, nothing lies between them.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if head.startswith(PICKLE_STARTS):
            raise lab_error("model", f"{path.name} is a pickle file, which can run arbitrary code when opened", "safetensors", CONVERT)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise _damaged(path, f"its header would be {length} bytes long in a file of {size} bytes")
        text = file.read(length)
    try:
        raw = json.loads(text, object_pairs_hook=_no_duplicates)
        metadata = {str(key): str(value) for key, value in (raw.pop("__metadata__", None) or {}).items()}
        entries = {str(name): _entry(item) for name, item in raw.items()}
        "".join([*metadata, *metadata.values(), *entries, *(row[0] for row in entries.values())]).encode("utf-8")  # no half characters
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({str(error)[:100]})") from error
    _check_spans(path, entries, size - 8 - length)
    return Header({name: shape for name, (_, shape, _, _) in entries.items()}, {name: row[0] for name, row in entries.items()}, metadata)


Entry = tuple[str, tuple[int, ...], int, int]  # (dtype, shape, start, stop)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a key appears twice")
    return dict(pairs)


def _entry(item: Mapping[str, Any]) -> Entry:
    start, stop = item["data_offsets"]
    shape = tuple(item["shape"])
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*shape, start, stop)):
        raise ValueError("shapes and offsets must be whole numbers")
    return str(item["dtype"]), shape, start, stop


def _check_spans(path: Path, entries: Mapping[str, Entry], data_bytes: int) -> None:
    for name, (dtype, shape, start, stop) in entries.items():
        if dtype not in WIDTHS:
            do = "this version cannot read 8-bit or 4-bit weights: use the fp16 file" if dtype in QUANTISED else ""
            raise lab_error("model", f"{path.name}: {name[:80]} is stored as {dtype[:20]}", f"one of {', '.join(WIDTHS)}", do)
        if stop > data_bytes or stop - start != math.prod(shape) * WIDTHS[dtype]:
            raise _damaged(path, f"{name[:80]} with shape {list(shape)} extends beyond the end of the file")
    spans = sorted((start, stop) for _, _, start, stop in entries.values())
    edges = [0, *(stop for _, stop in spans)]
    if [start for start, _ in spans] != edges[:-1] or edges[-1] != data_bytes:
        raise _damaged(path, "its tensors overlap or leave gaps")


def _damaged(path: Path, why: str) -> LabError:
    return lab_error(
        "model", f"{path.name} is not a complete safetensors file: {why}", "a .safetensors file", "check that the download is complete"
    )

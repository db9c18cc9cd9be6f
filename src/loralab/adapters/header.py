"""Safetensors files from strangers: a path in, checked entries and metadata out; no tensor is read before its header has passed."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from loralab.errors import LabError, lab_error

#: what factors are stored as; the two of 8 bits are floating-point numbers like the others, and their values are kept exactly
FACTORS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
#: and what a single number may be stored as beside those: diffusers' converter and OneTrainer write alphas as whole numbers
WHOLE = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
DTYPES = FACTORS | WHOLE
MAX_HEADER_BYTES = 16 << 20
MAX_JSON_BYTES = 1 << 20
MAX_DIMENSIONS, MAX_LENGTH = 6, 1 << 32  # of one tensor; a product of longer lists would take long to compute
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch's zip archives, and bare pickles


@dataclass(frozen=True)
class Entry:
    """One tensor of a file's header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def shown(text: str, length: int = 140) -> str:
    """Return at most ``length`` characters of a name out of a file, made safe for a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:length])


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Return (tensors, metadata, offset of the data) of a safetensors file, every length checked against the file's size.

    Raises LabError("model") for whatever is not a whole file of that format.
    """
    size = _size_of(path)
    try:
        with path.open("rb") as file:
            text = _header_text(file, path, size)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        metadata = _metadata(raw.pop("__metadata__", {}))
        entries = {_plain(name): _entry(item) for name, item in raw.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({shown(str(error), 100)})") from error
    _check_offsets(path, entries, size - 8 - len(text))
    return entries, metadata, 8 + len(text)


def read_tensors(path: Path, entries: Mapping[str, Entry], data_start: int) -> dict[str, torch.Tensor]:
    """Return the tensors that ``entries`` names as float32; raises LabError("model") for NaN, infinity, or a file that has shrunk."""
    try:
        with path.open("rb") as file:
            return {name: _read_tensor(file, data_start, path, name, entry) for name, entry in entries.items()}
    except OSError as error:
        raise _unreadable(path, error) from error


def read_small_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file of at most a MiB; raises LabError("model")."""
    size = _size_of(path)
    if size > MAX_JSON_BYTES:
        raise lab_error("model", f"{shown(path.name)} has {size} bytes", f"at most {MAX_JSON_BYTES}")
    try:
        with path.open("rb") as file:
            return json_mapping(file.read(MAX_JSON_BYTES).decode("utf-8"), shown(path.name))
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise lab_error("model", f"{shown(path.name)} is not a text file", "JSON as UTF-8") from error


def json_mapping(text: str, name: str) -> dict[str, Any]:
    """Return the mapping that ``text`` holds as JSON; ``name`` is what an error calls it."""
    try:
        found = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise lab_error("model", f"{name} cannot be read ({shown(str(error), 100)})", "JSON") from error
    if not isinstance(found, dict):
        raise lab_error("model", f"{name} does not contain a JSON object", "a JSON object")
    return found


def _size_of(path: Path) -> int:
    """Return a regular file's size; links, folders and devices are refused."""
    name = shown(path.name)
    try:
        if path.is_symlink():
            raise lab_error("model", f"{name} is a link", "a .safetensors file", "give the path of the file it points to")
        if path.is_dir():
            raise lab_error("model", f"{name} is a folder", "a .safetensors file", "give the path of a file inside it")
        if not path.is_file():
            raise lab_error("model", f"no LoRA file at {name}", "a .safetensors file")
        return path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise _unreadable(path, error) from error


def _header_text(file: IO[bytes], path: Path, size: int) -> bytes:
    head = file.read(8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        if head.startswith(PICKLE_STARTS):
            found = f"{shown(path.name)} is a pickle file, which can run arbitrary code when opened"
            raise lab_error("model", found, "safetensors", "ask its author for a .safetensors version")
        raise _damaged(path, "it is empty" if size == 0 else f"its header would be {length} bytes long in a file of {size} bytes")
    text = file.read(length)
    if len(text) != length:
        raise _damaged(path, "it was truncated while being read")
    return text


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a key appears twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _plain(text: Any) -> str:
    """Return ``text``; raises ValueError for what is no string or cannot be written as UTF-8 (half a surrogate pair)."""
    if not isinstance(text, str):
        raise ValueError("its metadata must be text")
    text.encode("utf-8")
    return text


def _metadata(found: Any) -> dict[str, str]:
    return {_plain(key): _plain(value) for key, value in found.items()}


def _entry(item: Mapping[str, Any]) -> Entry:
    start, stop = item["data_offsets"]
    shape = item["shape"]
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"a shape must be a list of at most {MAX_DIMENSIONS} whole numbers")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*shape, start, stop)):
        raise ValueError("shapes and offsets must be whole numbers")
    return Entry(_plain(item["dtype"]), tuple(shape), start, stop)


def _check_offsets(path: Path, entries: Mapping[str, Entry], data_bytes: int) -> None:
    for name, entry in entries.items():
        if entry.dtype not in DTYPES:
            found = f"{shown(path.name)}: {shown(name)} is stored as {shown(entry.dtype, 20)}"
            raise lab_error("model", found, f"one of {', '.join(DTYPES)}")
        width = DTYPES[entry.dtype].itemsize
        too_long = any(length > MAX_LENGTH for length in entry.shape)
        if too_long or entry.stop > data_bytes or entry.stop - entry.start != math.prod(entry.shape) * width:
            sides = " x ".join(str(length) if length <= MAX_LENGTH else "too many" for length in entry.shape)
            raise _damaged(path, f"{shown(name)} with shape {sides or 'of a number'} extends beyond the end of the file")
        if entry.start % width:
            raise _damaged(
                path, f"{shown(name)} starts at byte {entry.start}, in the middle of a number ({entry.dtype} takes {width} bytes)"
            )
    # tensors that share bytes would let a small file ask for much memory; the format wants them one behind the other, without holes
    spans = sorted((entry.start, entry.stop) for entry in entries.values())
    edges = [0, *(stop for _, stop in spans)]
    if [start for start, _ in spans] != edges[:-1] or edges[-1] != data_bytes:
        raise _damaged(path, "its tensors overlap or leave gaps")


def _read_tensor(file: IO[bytes], data_start: int, path: Path, name: str, entry: Entry) -> torch.Tensor:
    file.seek(data_start + entry.start)
    data = file.read(entry.stop - entry.start)
    if len(data) != entry.stop - entry.start:
        raise _damaged(path, "it was truncated while being read")
    raw = np.frombuffer(data, dtype=np.uint8).copy()
    tensor = torch.from_numpy(raw).view(DTYPES[entry.dtype]).reshape(entry.shape).to(torch.float32)
    if not torch.isfinite(tensor).all():
        found = f"{shown(path.name)}: {shown(name)} contains NaN or infinity"
        raise lab_error("model", found, "finite values", "the training that produced it diverged")
    return tensor


def _damaged(path: Path, why: str) -> LabError:
    found = f"{shown(path.name)} is not a complete safetensors file: {why}"
    return lab_error("model", found, "a .safetensors file", "check that the download is complete")


def _unreadable(path: Path, error: Exception) -> LabError:
    reason = getattr(error, "strerror", None) or str(error)
    return lab_error("model", f"{shown(path.name)} cannot be read ({shown(reason, 100)})", "a .safetensors file")

"""LoRA files in kohya's format for SD1: an Adapter to a .safetensors file and back, checked before anything is allocated.

Key names: `lora_unet_` + the layer's path in diffusers' naming with `.` -> `_`; per layer `.lora_down.weight`, `.lora_up.weight` and a
0-dim `.alpha`, the same for all layers (diffusers 0.42 mis-scales files in which it differs).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loralab import __version__
from loralab.adapters.adapter import Adapter
from loralab.adapters.layers import adapted_layers
from loralab.bases import Base
from loralab.errors import lab_error

DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
MAX_HEADER_BYTES = 16 << 20
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch's zip archives, and bare pickles
LEGACY_HASH_START, LEGACY_HASH_STOP = 0x100000, 0x110000


@dataclass(frozen=True)
class Entry:
    """One tensor of a file's header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


# --- writing ------------------------------------------------------------------------------------------------------------


def kohya_key(path: str) -> str:
    """Return kohya's name of a layer: `unet.a.b.0` -> `lora_unet_a_b_0`, `text_encoder.encoder.a` -> `lora_te_text_model_encoder_a`.

    transformers 5 leaves `text_model.` out of its module paths; files keep it, or other tools skip the whole text encoder.
    """
    part, _, inner = path.partition(".")
    if part == "text_encoder":
        return "lora_te_text_model_" + inner.removeprefix("text_model.").replace(".", "_")
    return "lora_" + path.replace(".", "_")


def save_adapter(path: Path, adapter: Adapter, *, metadata: Mapping[str, str]) -> None:
    """Write ``adapter`` as kohya safetensors; the same adapter and metadata give the same bytes.

    ``metadata`` (all strings) is added to what loaders need; the hashes are computed here.
    """
    tensors: dict[str, torch.Tensor] = {}
    for layer, (down, up) in adapter.weights.items():
        tensors[kohya_key(layer) + DOWN] = down
        tensors[kohya_key(layer) + UP] = up
        tensors[kohya_key(layer) + ALPHA] = torch.tensor(adapter.alpha)
    block = _tensor_block(tensors)
    described = _base_metadata(adapter) | _titles(metadata) | dict(metadata)
    training_only = {key: value for key, value in described.items() if key.startswith("ss_")}
    legacy = _serialise(tensors, training_only, block)[LEGACY_HASH_START:LEGACY_HASH_STOP]
    described["sshs_model_hash"] = hashlib.sha256(block).hexdigest()
    described["sshs_legacy_hash"] = hashlib.sha256(legacy).hexdigest()[:8]
    path.write_bytes(_serialise(tensors, described, block))


def _base_metadata(adapter: Adapter) -> dict[str, str]:
    return {
        "ss_v2": "False", "ss_base_model_version": "sd_v1", "ss_network_module": "networks.lora", "ss_network_dim": str(adapter.rank),
        "ss_network_alpha": f"{adapter.alpha:.9g}", "ss_network_args": "{}", "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.implementation": f"loralab {__version__}",
    }  # fmt: skip


def _titles(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the modelspec fields that repeat what the caller says in kohya's words."""
    titles = {"modelspec.title": metadata["ss_output_name"]} if "ss_output_name" in metadata else {}
    if found := re.fullmatch(r"\((\d+), (\d+)\)", metadata.get("ss_resolution", "")):
        titles["modelspec.resolution"] = "x".join(found.groups())
    return titles


def _tensor_block(tensors: Mapping[str, torch.Tensor]) -> bytes:
    return b"".join(tensors[name].detach().to(torch.float32).contiguous().cpu().numpy().tobytes() for name in sorted(tensors))


def _serialise(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], block: bytes) -> bytes:
    """Return the bytes of a safetensors file; the header is written here because the library's order of metadata is not fixed."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    start = 0
    for name in sorted(tensors):
        stop = start + 4 * tensors[name].numel()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + block


# --- reading ------------------------------------------------------------------------------------------------------------


def load_adapter(path: Path, base: Base) -> Adapter:
    """Return the adapter in a kohya file for ``base``; raises LabError("model") that names what does not fit, before memory is taken."""
    header, metadata, data_start = read_header(path)
    layers = adapted_layers(base, "transformer+conv")
    by_key = {kohya_key(layer): layer for layer in layers}
    pairs = _pairs(path, header, by_key)
    for key, (down, up) in pairs.items():
        _check_shapes(path, key, header[down], header[up], tuple(layers[by_key[key]].weight.shape))
    with path.open("rb") as file:
        values = {name: _read_tensor(file, data_start, path, name, entry) for name, entry in header.items()}
    ranks = {values[down].shape[0] for down, _ in pairs.values()}
    rank = max(ranks)
    alphas = {
        key: float(values[key + ALPHA]) if key + ALPHA in values else float(values[down].shape[0]) for key, (down, _) in pairs.items()
    }
    return _one_alpha(path, {by_key[key]: (values[down], values[up], alphas[key]) for key, (down, up) in pairs.items()}, rank, metadata)


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Return (tensors, metadata, offset of the data) of a safetensors file, every length checked against the file's size."""
    if not path.is_file():
        raise lab_error("model", f"no LoRA file at {path.name}", "a .safetensors file")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            if head.startswith(PICKLE_STARTS):
                found = f"{path.name} is a pickle, which can run any code when it is opened"
                raise lab_error("model", found, "safetensors", "ask its author for it")
            raise _damaged(path, f"its header would be {length} bytes long, the file has {size}")
        text = file.read(length)
    try:
        raw = json.loads(text, object_pairs_hook=_no_duplicates)
        metadata = {str(key): str(value) for key, value in raw.pop("__metadata__", {}).items()}
        entries = {name: _entry(item) for name, item in raw.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read ({str(error)[:100]})") from error
    _check_offsets(path, entries, size - 8 - length)
    return entries, metadata, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _entry(item: Mapping[str, Any]) -> Entry:
    start, stop = item["data_offsets"]
    shape = tuple(item["shape"])
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*shape, start, stop)):
        raise ValueError("shapes and offsets must be whole numbers")
    return Entry(str(item["dtype"]), shape, start, stop)


def _check_offsets(path: Path, entries: Mapping[str, Entry], data_bytes: int) -> None:
    for name, entry in entries.items():
        if entry.dtype not in DTYPES:
            raise lab_error("model", f"{path.name}: {name[:80]} is stored as {entry.dtype[:20]}", f"one of {', '.join(DTYPES)}")
        width = DTYPES[entry.dtype].itemsize
        if entry.stop > data_bytes or entry.stop - entry.start != math.prod(entry.shape) * width:
            raise _damaged(path, f"{name[:80]} with shape {list(entry.shape)} does not lie inside the file")
    # tensors that share bytes would let a small file ask for much memory; the format wants them one behind the other, without holes
    spans = sorted((entry.start, entry.stop) for entry in entries.values())
    edges = [0, *(stop for _, stop in spans)]
    if [start for start, _ in spans] != edges[:-1] or edges[-1] != data_bytes:
        raise _damaged(path, "its tensors overlap or leave holes")


def _damaged(path: Path, why: str) -> Exception:
    return lab_error("model", f"{path.name} is no whole safetensors file: {why}", "a .safetensors file", "is the download complete?")


def _pairs(path: Path, header: Mapping[str, Entry], by_key: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return (down, up) names by kohya key; raises where a tensor belongs to no layer of the base, or to no pair."""
    keys = {name.rsplit(suffix, 1)[0] for name in header for suffix in (DOWN, UP, ALPHA) if name.endswith(suffix)}
    strangers = sorted({name for name in header if not name.endswith((DOWN, UP, ALPHA))} | {key for key in keys if key not in by_key})
    if strangers:
        shown = ", ".join(name[:80] for name in strangers[:5])
        found = f"{path.name} has {len(strangers)} entries that fit nothing in the base's UNet: {shown}"
        text_encoder = any(name.startswith("lora_te") for name in strangers)
        do = "this version applies no text-encoder layers: train it with --network_train_unet_only" if text_encoder else ""
        raise lab_error("model", found, "a kohya LoRA of this base's family", do)
    halves = sorted(key for key in keys if key + DOWN not in header or key + UP not in header)
    if halves:
        raise lab_error(
            "model", f"{path.name}: half of the pair is missing for {', '.join(halves[:5])}", "lora_down and lora_up for each layer"
        )
    if not keys:
        raise lab_error("model", f"{path.name} holds no LoRA", "lora_down and lora_up tensors")
    for key in sorted(keys):
        if key + ALPHA in header and header[key + ALPHA].shape not in ((), (1,)):
            raise lab_error("model", f"{path.name}: {key}{ALPHA} has shape {list(header[key + ALPHA].shape)}", "a single number")
    return {key: (key + DOWN, key + UP) for key in sorted(keys)}


def _check_shapes(path: Path, key: str, down: Entry, up: Entry, weight: tuple[int, ...]) -> None:
    rank = down.shape[0] if down.shape else 0
    wanted_down, wanted_up = (rank, *weight[1:]), (weight[0], rank, *(1,) * (len(weight) - 2))
    if not 1 <= rank <= min(weight[0], math.prod(weight[1:])):
        raise lab_error(
            "model", f"{path.name}: {key} has rank {rank}", f"1 to {min(weight[0], math.prod(weight[1:]))} for a layer of {list(weight)}"
        )
    if down.shape != wanted_down or up.shape != wanted_up:
        found = f"{path.name}: {key} has down {list(down.shape)} and up {list(up.shape)}"
        raise lab_error("model", found, f"down {list(wanted_down)} and up {list(wanted_up)}", "was it trained on another base?")


def _read_tensor(file: Any, data_start: int, path: Path, name: str, entry: Entry) -> torch.Tensor:
    file.seek(data_start + entry.start)
    raw = np.frombuffer(file.read(entry.stop - entry.start), dtype=np.uint8).copy()
    tensor = torch.from_numpy(raw).view(DTYPES[entry.dtype]).reshape(entry.shape).to(torch.float32)
    if not torch.isfinite(tensor).all():
        raise lab_error("model", f"{path.name}: {name[:80]} holds NaN or infinity", "finite values", "the training that made it diverged")
    return tensor


def _one_alpha(
    path: Path, found: Mapping[str, tuple[torch.Tensor, torch.Tensor, float]], rank: int, metadata: Mapping[str, str]
) -> Adapter:
    """Return the adapter with one rank and one alpha; where layers differ, ranks are padded and scales go into `up`."""
    alphas = {alpha for _, _, alpha in found.values()}
    if not all(0 < abs(alpha) < 1e6 for alpha in alphas):
        raise lab_error("model", f"{path.name}: an alpha of {max(alphas, key=abs):g}", "an alpha above 0 and below a million")
    uniform = len(alphas) == 1 and all(down.shape[0] == rank for down, _, _ in found.values())
    alpha = alphas.pop() if uniform else float(rank)
    weights = {}
    for layer, (down, up, own_alpha) in found.items():
        own_rank = down.shape[0]
        if not uniform:
            up = up * (own_alpha / own_rank)
            down = torch.cat([down, down.new_zeros(rank - own_rank, *down.shape[1:])])
            up = torch.cat([up, up.new_zeros(up.shape[0], rank - own_rank, *up.shape[2:])], dim=1)
        weights[layer] = (down, up)
    return Adapter(weights, alpha, rank, dict(metadata))


def tensor_names(path: Path) -> Iterator[str]:
    """Yield the names of the tensors in a file."""
    yield from read_header(path)[0]

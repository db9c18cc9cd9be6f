"""LoRA files: an Adapter to a .safetensors file in kohya's format, and back from the formats of the field.

Another kind than a LoRA is written as LyCORIS has it.

Key names: `lora_unet_` + the layer's path in diffusers' naming with `.` -> `_`; per layer `.lora_down.weight`, `.lora_up.weight` and a
0-dim `.alpha`, the same for all layers (diffusers 0.42 mis-scales files in which it differs).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from loralab import __version__
from loralab.adapters.adapter import Adapter, Own, Pair
from loralab.adapters.folding import one_alpha, pair_and_scale, written_factors
from loralab.adapters.formats import MAX_ALPHA, FoundLayer, find_layers
from loralab.adapters.header import Entry, read_header, read_tensors, shown
from loralab.adapters.layers import all_layers, spellings
from loralab.adapters.shapes import as_layer, check_shapes
from loralab.adapters.shifts import read_shifts, written
from loralab.adapters.strangers import naming_the_family
from loralab.bases import FAMILIES, Base, Family
from loralab.bases.parts import FileWords
from loralab.errors import lab_error

DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
#: a tensor's role -> how LyCORIS ends its name
ENDINGS = {
    "down": DOWN, "up": UP, "alpha": ALPHA, "magnitude": ".dora_scale", "factor": ".weight", "on_input": ".on_input",
    **{f"w{n}_{side}": f".hada_w{n}_{side}" for n in (1, 2) for side in "ab"},
    "k1": ".lokr_w1", "k2": ".lokr_w2", **{f"k{n}_{side}": f".lokr_w{n}_{side}" for n in (1, 2) for side in "ab"},
}  # fmt: skip
LEGACY_HASH_START, LEGACY_HASH_STOP = 0x100000, 0x110000
#: what one adapter may take in memory, as float32: SDXL with every layer at rank 256 needs 3.4 GB
BUDGET_BYTES = 4 << 30
#: no entry of delta W is that large in any base; beyond it float32 overflows in the products behind it
MAX_CHANGE = 1e18


# --- writing ------------------------------------------------------------------------------------------------------------


def save_adapter(path: Path, adapter: Adapter, *, metadata: Mapping[str, str], family: str = "sd1") -> None:
    """Write ``adapter``, made for a base of ``family``, as kohya safetensors; the same adapter and metadata give the same bytes.

    ``metadata`` (all strings) is added to what loaders need; the hashes are computed here.
    """
    row = FAMILIES[family]
    tensors = _kohya_tensors(adapter, row) | written(adapter.shifts, row.write_key)
    block = _tensor_block(tensors)
    described = _base_metadata(adapter, row.words) | _titles(metadata) | dict(metadata)
    training_only = {key: value for key, value in described.items() if key.startswith("ss_")}
    legacy = _serialise(tensors, training_only, block)[LEGACY_HASH_START:LEGACY_HASH_STOP]
    described["sshs_model_hash"] = hashlib.sha256(block).hexdigest()
    described["sshs_legacy_hash"] = hashlib.sha256(legacy).hexdigest()[:8]
    path.write_bytes(_serialise(tensors, described, block))


def _kohya_tensors(adapter: Adapter, family: Family) -> dict[str, torch.Tensor]:
    if adapter.own is not None:
        return _lycoris_tensors(adapter.own, family)
    tensors: dict[str, torch.Tensor] = {}
    for layer, (down, up) in adapter.weights.items():
        key = family.write_key(layer)
        tensors[key + DOWN] = down
        # readers scale a layer by alpha / its own rank: with one alpha for all, a layer of another scale carries the difference in `up`
        factor = adapter.scale_of(layer) * len(down) / adapter.alpha if layer in adapter.scales else len(down) / adapter.rank
        tensors[key + UP] = up if math.isclose(factor, 1.0, rel_tol=1e-12) else up * factor
        tensors[key + ALPHA] = torch.tensor(adapter.alpha)
    return tensors


def _lycoris_tensors(own: Own, family: Family) -> dict[str, torch.Tensor]:
    return {
        family.write_key(layer) + ENDINGS[role]: tensor for layer in own.factors for role, tensor in written_factors(own, layer).items()
    }


def _base_metadata(adapter: Adapter, words: FileWords) -> dict[str, str]:
    alpha = f"{adapter.alpha:.9g}"
    kernels = any(math.prod(down.shape[2:]) > 1 for down, _ in adapter.weights.values())
    arguments = json.dumps({"conv_dim": str(adapter.rank), "conv_alpha": alpha} if kernels else {})
    module = "networks.lora" if adapter.own is None else "lycoris.kohya"
    return {
        "ss_v2": "False", "ss_base_model_version": words.version, "ss_network_module": module, "ss_network_dim": str(adapter.rank),
        "ss_network_alpha": alpha, "ss_network_args": arguments, "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": words.architecture, "modelspec.implementation": f"loralab {__version__}",
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


def load_adapter(path: Path, base: Base, *, follow_links: bool = False) -> Adapter:
    """Return the adapter in a file for ``base``; raises LabError("model") that names what does not fit, before memory is taken.

    A link is refused unless ``follow_links``: that is for files that the user named (Hugging Face's cache holds links to its blobs).

    Reads what :mod:`loralab.adapters.formats` lists. A LoHa of ranks r1 and r2 becomes the LoRA of rank r1 * r2 that equals it; a rank
    above what a layer can have becomes the layer's own, with the same delta W.
    """
    file = path.resolve() if follow_links else path
    header, metadata, data_start = read_header(file)
    weights = {layer_path: layer.weight for layer_path, layer in all_layers(base).items()}
    layers = find_layers(path, header, metadata, spellings(base), base.family)
    whole = [layer for layer in layers if layer.tensors.keys() - {"alpha"}]
    with naming_the_family(path, header, metadata, base.family):
        ranks = {layer.path: check_shapes(path, layer, header, tuple(weights[layer.path].shape)) for layer in whole}
        shifts = read_shifts(path, file, header, layers, base, data_start)
    _check_budget(path, header, sum(4 * rank * (len(weights[p]) + weights[p][0].numel()) for p, rank in ranks.items()))
    found = {}
    for layer in sorted(whole, key=lambda layer: layer.path):
        values = read_tensors(file, {name: header[name] for name in layer.tensors.values()}, data_start)
        factors = {role: values[name].double() for role, name in layer.tensors.items()}
        alpha, scale = _alpha_and_scale(path, layer, factors)
        pair, scale = pair_and_scale(layer.kind, factors, scale, weights[layer.path])
        pair = as_layer(pair, tuple(weights[layer.path].shape))
        _check_size(path, layer, pair, scale)
        found[layer.path] = (pair, alpha, scale)
    if not found:  # vectors alone
        return Adapter({}, 1.0, 1, dict(metadata), shifts)
    return replace(one_alpha(found, max(ranks.values()), metadata), shifts=shifts)


def _check_budget(path: Path, header: Mapping[str, Entry], adapter_bytes: int) -> None:
    file_bytes = sum(entry.stop - entry.start for entry in header.values())
    if max(adapter_bytes, file_bytes) > BUDGET_BYTES:
        found = f"{shown(path.name)} would take {max(adapter_bytes, file_bytes) / 2**30:.1f} GiB"
        raise lab_error("model", found, f"at most {BUDGET_BYTES / 2**30:.1f} GiB", "reduce its rank with a resize script")


def _alpha_and_scale(path: Path, layer: FoundLayer, factors: Mapping[str, torch.Tensor]) -> tuple[float, float]:
    """Return a layer's (alpha, alpha / rank); no alpha anywhere means alpha = rank, as in kohya's code and diffusers'."""
    rank = layer.kind.rank(factors)
    if rank is None:
        return 1.0, 1.0
    alpha = float(factors["alpha"]) if "alpha" in factors else layer.alpha if layer.alpha is not None else float(rank)
    if not 0 < alpha < MAX_ALPHA:
        raise lab_error(
            "model", f"{shown(path.name)}: {shown(layer.name)} has an alpha of {alpha:g}", "an alpha above 0 and below a million"
        )
    return alpha, alpha / (math.sqrt(rank) if layer.root_rank else rank)


def _check_size(path: Path, layer: FoundLayer, pair: Pair, scale: float) -> None:
    """Raise where delta W may leave float32: finite factors can still overflow in their product."""
    down, up = (float(factor.abs().max()) for factor in pair)
    bound = down * up * len(pair[0]) * scale
    if not bound < MAX_CHANGE:
        found = f"{shown(path.name)}: {shown(layer.name)} would change the weights by up to {bound:.1g}"
        raise lab_error("model", found, "weights like those of a trained LoRA", "the training that produced it diverged")

"""Reads the parts of a diffusers folder: the folder of a part and its class in, the part with every weight out; safetensors alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from loralab.bases.header import read_header
from loralab.errors import LabError, lab_error

DOWNLOAD = "check that the download is complete"
UNSAFE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
#: weights of a part: `model.safetensors`, `model.fp16.safetensors`, and in several files `model.fp16-00001-of-00002.safetensors` or
#: `model-00001-of-00002.fp16.safetensors`, as transformers and diffusers write and have written them
WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(?P<a>[\w-]+?))?(?:-\d{5}-of-\d{5})?(?:\.(?P<b>[\w-]+))?\.safetensors")
#: which weights are taken where a folder holds several kinds; others are taken only where they stand alone
PREFERRED = ("", "fp16", "bf16", "ema", "non_ema")


def load_part(place: Path, kind: Any, dtype: torch.dtype) -> Any:
    """Return the model or the tokenizer of class ``kind`` in the folder ``place``; raises LabError("model").

    Weights come from safetensors alone, whatever variant of them (`fp16`, `non_ema`, ...) the folder holds, and all of them must be there.
    """
    name = place.name
    if not place.is_dir():
        raise lab_error("model", f"the base in {place.parent.name} has no {name} folder", f"a folder {name}/", DOWNLOAD)
    if not _has_weights(kind):
        with as_lab_error(name):
            return kind.from_pretrained(place, local_files_only=True)
    variant, files = weight_files(place)
    for file in files:
        try:
            read_header(file)
        except LabError as error:
            raise lab_error("model", f"{name}/ of the base cannot be loaded: {error}", "a complete diffusers folder", DOWNLOAD) from error
    told_variant = {"variant": variant} if variant else {}
    with as_lab_error(name):
        model, told = kind.from_pretrained(
            place, local_files_only=True, use_safetensors=True, output_loading_info=True, **told_variant, **_as_dtype(kind, dtype)
        )
    lacking = sorted(map(str, told["missing_keys"]))
    if lacking:  # the libraries would fill them with random numbers and go on
        shown = ", ".join(lacking[:5])
        raise lab_error(
            "model", f"{len(lacking)} weights are missing from {name}/: {shown}", "every weight that its config.json calls for", DOWNLOAD
        )
    return model


def weight_files(place: Path) -> tuple[str, list[Path]]:
    """Return (variant, files) of the weights that are used of a part's folder; the variant is "" where the names have none.

    Raises LabError("model") where there are none, or several variants of which none is the usual one.
    """
    kinds: dict[str, list[Path]] = {}
    for file in sorted(place.glob("*.safetensors")):
        if found := WEIGHTS.fullmatch(file.name):
            kinds.setdefault(found["a"] or found["b"] or "", []).append(file)
    if not kinds:
        raise _no_weights(place)
    usual = next((variant for variant in PREFERRED if variant in kinds), None)
    if usual is None and len(kinds) > 1:
        found_words = f"{place.name}/ contains the weights {', '.join(sorted(kinds))}, but none under the usual names"
        raise lab_error("model", found_words, "one kind", "keep only the one you want in the folder")
    variant = usual if usual is not None else next(iter(kinds))
    return variant, kinds[variant]


def only_file(place: Path) -> Path | None:
    """Return the file that holds all weights that are used of a part's folder; None where they lie in several."""
    files = weight_files(place)[1]
    return files[0] if len(files) == 1 else None


def _no_weights(place: Path) -> LabError:
    others = sorted(file.name for file in place.iterdir() if file.suffix in UNSAFE_SUFFIXES or file.suffix == ".safetensors")
    found = f"{place.name}/ contains no .safetensors weights" + (f", only {', '.join(others[:5])}" if others else "")
    expected = (
        "weights as safetensors (model.safetensors, diffusion_pytorch_model.fp16.safetensors, ...): pickle files can run arbitrary code"
    )
    return lab_error("model", found, expected, "save the pipeline again with save_pretrained(..., safe_serialization=True)")


def _has_weights(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, torch.nn.Module)


def _as_dtype(kind: Any, dtype: torch.dtype) -> dict[str, Any]:
    """Return the argument that has weights read as ``dtype``; the two libraries name it differently."""
    return {"torch_dtype" if kind.__module__.startswith("diffusers") else "dtype": dtype}


@contextmanager
def as_lab_error(name: str) -> Iterator[None]:
    """Turn what the libraries raise about a damaged part into a LabError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise lab_error("model", f"{name}/ of the base cannot be loaded: {first}", "a complete diffusers folder", DOWNLOAD) from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file of a pipeline; raises LabError("model")."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = f"the base has no readable {file.parent.name}/{file.name}"
        raise lab_error("model", found, "a complete diffusers folder", DOWNLOAD) from error
    if not isinstance(content, dict):
        raise lab_error(
            "model", f"{file.parent.name}/{file.name} of the base does not contain a JSON object", "a complete diffusers folder", DOWNLOAD
        )
    return content

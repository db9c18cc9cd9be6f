"""Loads a base from a diffusers folder, safely: a reference in, a frozen Base out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from loralab.bases.base import Base
from loralab.errors import lab_error
from loralab.petri import petri_folder

DOWNLOAD = "is the download complete?"
UNSAFE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


@dataclass(frozen=True)
class Family:
    """A kind of pipeline: its name here and the classes of its parts."""

    name: str
    parts: Mapping[str, Any]


#: pipeline classes that may be named in a model_index.json; nothing else is ever instantiated from a file's word
FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family(
        "sd1", {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel, "tokenizer": CLIPTokenizer}
    ),
}
MODEL_PARTS = ("unet", "vae", "text_encoder")


def load_base(reference: str, *, device: str = "cpu") -> Base:
    """Return the base that ``reference`` names: `petri`, or the path of a diffusers folder.

    Weights are read from safetensors alone and held as float32 on a CPU. Raises LabError("model").
    """
    folder = petri_folder() if reference == "petri" else Path(reference)
    family = _family_of(folder, reference)
    with _quiet_libraries():
        parts = {name: _load_part(folder, name, kind) for name, kind in family.parts.items()}
    models = {name: parts[name].to(device=device).requires_grad_(False).eval() for name in MODEL_PARTS}
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    unet, vae = models["unet"], models["vae"]
    size = int(unet.config.sample_size)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if unet.config.in_channels != vae.config.latent_channels:
        found = f"a UNet of {unet.config.in_channels} input channels over a VAE of {vae.config.latent_channels}"
        raise lab_error("model", found, "equal numbers: a text-to-image base", "inpainting and edit models cannot be used")
    return Base(
        name=folder.name if reference != "petri" else "petri", family=family.name, unet=unet, vae=vae, text_encoder=models["text_encoder"],
        tokenizer=parts["tokenizer"], scheduler_config=scheduler, fingerprint=fingerprint_of(folder), size_px=size * factor,
        latent_shape=(int(unet.config.in_channels), size, size), device=torch.device(device), dtype=torch.float32,
    )  # fmt: skip


def _family_of(folder: Path, reference: str) -> Family:
    if folder.is_file():
        what = "a pickle, which can run any code" if folder.suffix in UNSAFE_SUFFIXES else "a file"
        do = "convert it with diffusers' scripts/convert_original_stable_diffusion_to_diffusers.py --to_safetensors"
        raise lab_error("model", f"the base {reference!r} is {what}", "`petri`, or the path of a diffusers folder", do)
    index = folder / "model_index.json"
    if not index.is_file():
        found = f"the base {reference!r} is a folder without model_index.json" if folder.is_dir() else f"no base at {reference!r}"
        raise lab_error("model", found, "`petri`, or the path of a diffusers folder", "check `base:` in the study")
    name = str(_read_json(index).get("_class_name"))
    if name not in FAMILIES:
        raise lab_error("model", f"the base {reference!r} is a {name}", f"one of {', '.join(FAMILIES)}", "this version cannot use it yet")
    return FAMILIES[name]


def _load_part(folder: Path, name: str, kind: Any) -> Any:
    place = folder / name
    if not place.is_dir():
        raise lab_error("model", f"the base in {folder.name} has no {name}", f"a folder {name}/", DOWNLOAD)
    if name not in MODEL_PARTS:
        with _as_lab_error(name):
            return kind.from_pretrained(place, local_files_only=True)
    if not list(place.glob("*.safetensors")):
        unsafe = sorted(file.name for file in place.iterdir() if file.suffix in UNSAFE_SUFFIXES)
        found = f"{name}/ holds no .safetensors" + (f", only {', '.join(unsafe)}" if unsafe else "")
        do = "save the pipeline again with save_pretrained(..., safe_serialization=True)"
        raise lab_error("model", found, "weights as safetensors: pickles can run any code when they are opened", do)
    with _as_lab_error(name):
        model, told = kind.from_pretrained(
            place, local_files_only=True, use_safetensors=True, output_loading_info=True, **_as_float32(kind)
        )
    lacking = sorted(map(str, told["missing_keys"]))
    if lacking:  # the libraries would fill them with random numbers and go on
        shown = ", ".join(lacking[:5])
        raise lab_error("model", f"{name}/ lacks {len(lacking)} weights: {shown}", "every weight of its config.json", DOWNLOAD)
    return model


def _as_float32(kind: Any) -> dict[str, Any]:
    """Return the argument that has weights read as float32; the two libraries name it differently."""
    return {"torch_dtype" if kind.__module__.startswith("diffusers") else "dtype": torch.float32}


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the libraries' own progress bars and remarks off the screen for the block: what is wrong with a base is said by us."""
    levels = transformers_logging.get_verbosity(), diffusers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(levels[0])
        diffusers_logging.set_verbosity(levels[1])
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def _as_lab_error(name: str) -> Iterator[None]:
    """Turn what the libraries raise about a damaged part into a LabError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise lab_error("model", f"{name}/ of the base cannot be loaded: {first}", "a whole diffusers folder", DOWNLOAD) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = f"the base has no readable {file.parent.name}/{file.name}"
        raise lab_error("model", found, "a whole diffusers folder", DOWNLOAD) from error
    if not isinstance(content, dict):
        raise lab_error("model", f"{file.parent.name}/{file.name} of the base holds no mapping", "a whole diffusers folder", DOWNLOAD)
    return content


def fingerprint_of(folder: Path) -> str:
    """Return the sha256 (hex) over the names and bytes of every file of a pipeline that shapes its pictures."""
    digest = hashlib.sha256()
    for file in sorted(item for item in folder.rglob("*") if item.is_file() and item.suffix in (".safetensors", ".json", ".txt")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()

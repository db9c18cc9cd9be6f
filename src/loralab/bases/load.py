"""Loads a base from a diffusers folder or a single checkpoint, safely: a reference in, a frozen Base out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loralab.bases.base import Base
from loralab.bases.checkpoint import held_as, load_parts
from loralab.bases.family import FAMILIES, Family
from loralab.bases.folder import UNSAFE_SUFFIXES, load_part, only_file, read_json
from loralab.bases.header import CONVERT
from loralab.bases.vae import load_vae
from loralab.errors import lab_error
from loralab.petri import petri_folder
from loralab.quiet import quiet_libraries
from loralab.spec.elsewhere import named_path
from loralab.spec.models import LoadSpec
from loralab.store.keys import fingerprint_of


@dataclass(frozen=True)
class DeviceKind:
    """A kind of device: its name in sentences, how many there are, and what they need."""

    called: str
    count: Callable[[], int]
    needs: str


DEVICES: Mapping[str, DeviceKind] = {
    "cpu": DeviceKind("processor", lambda: 1, ""),
    "cuda": DeviceKind(
        "CUDA", lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "an NVIDIA card (or AMD's with ROCm), its driver, and a torch built for it: see pytorch.org, \"Start Locally\"",
    ),
    "mps": DeviceKind("Apple (mps)", lambda: int(torch.backends.mps.is_available()), "a Mac with Apple silicon and macOS 14 or later"),
    "xpu": DeviceKind(
        "Intel (xpu)", lambda: torch.xpu.device_count() if torch.xpu.is_available() else 0,
        "an Intel Arc or Data Center GPU, its driver, and a torch built for xpu: see pytorch.org, \"Start Locally\"",
    ),
}  # fmt: skip


def device_names() -> list[str]:
    """Return what torch can use on this machine beside its processor, as `load.device` spells it."""
    counts = {kind: row.count() for kind, row in DEVICES.items() if kind != "cpu"}
    return [f"{kind}:{index}" if index else kind for kind, count in counts.items() for index in range(count)]


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_base(reference: str, load: LoadSpec | None = None) -> Base:
    """Return the base that ``reference`` names: `petri`, or the path of a diffusers folder or of a .safetensors checkpoint.

    Weights are read from safetensors alone and held on the device and in the precision of ``load``; the VAE stays float32, because SDXL's
    overflows in fp16. Raises LabError("model"), and LabError("spec") for a device that is not there.
    """
    load = load or LoadSpec()
    place = device_of(load.device)
    path = petri_folder() if reference == "petri" else named_path(reference, Path())
    dtype = DTYPES[load.precision]
    with quiet_libraries():
        family, parts, found_schedule, fingerprint = _read(path, reference, dtype, load.vae)
    scheduler = overruled(found_schedule, load)
    held = {name: _frozen(part, place) if isinstance(part, torch.nn.Module) else part for name, part in parts.items()}
    name = next(name for name, part in family.parts.items() if part.role == "denoiser")
    denoiser, vae = held[name], held["vae"]
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    side = _latent_side(denoiser, factor, load)
    if denoiser.config.in_channels != vae.config.latent_channels:
        found = f"a UNet with {denoiser.config.in_channels} input channels on a VAE with {vae.config.latent_channels}"
        raise lab_error("model", found, "equal numbers, as in a text-to-image base", "inpainting and edit models cannot be used")
    return Base(
        name="petri" if reference == "petri" else path.stem if path.is_file() else path.name, family=family.name, parts=held,
        scheduler_config=scheduler, fingerprint=_fingerprint_as_held(fingerprint, load, found_schedule, scheduler), size_px=side * factor,
        latent_shape=(int(denoiser.config.in_channels), side, side), device=place, dtype=dtype,
        weights=path if path.is_file() else only_file(path / name),
    )  # fmt: skip


def _frozen(part: torch.nn.Module, place: torch.device) -> torch.nn.Module:
    return part.to(device=place).requires_grad_(False).eval()


def _read(path: Path, reference: str, dtype: torch.dtype, vae: str | None) -> tuple[Family, dict[str, Any], dict[str, Any], str]:
    """Return (family, parts, scheduler configuration, fingerprint of the files) of a folder or a single file.

    Where a ``vae`` is named, the base's own is not looked at, and may be missing.
    """
    if path.is_file():
        if path.suffix.lower() in UNSAFE_SUFFIXES:
            found = f"the base {reference!r} is a pickle file, which can run arbitrary code when opened"
            raise lab_error("model", found, "`petri`, a diffusers folder, or a .safetensors checkpoint", CONVERT)
        name, parts, schedule = load_parts(path, dtype, without=() if vae is None else ("vae",))
        return FAMILIES[name], *_with_vae(name, parts, schedule, sha256_of(path), vae)
    family = _family_of(path, reference)
    specs = {name: spec for name, spec in family.parts.items() if name != "vae" or vae is None}
    parts = {name: load_part(path / name, spec.kind, held_as(spec, dtype)) for name, spec in specs.items()}
    family.check_parts(parts, reference)
    schedule = read_json(path / "scheduler" / "scheduler_config.json")
    return family, *_with_vae(family.name, parts, schedule, fingerprint_of(path), vae)


def _with_vae(
    family: str, parts: dict[str, Any], schedule: dict[str, Any], fingerprint: str, vae: str | None
) -> tuple[dict[str, Any], dict[str, Any], str]:
    if vae is None:
        return parts, schedule, fingerprint
    other, sha256 = load_vae(vae, family)
    return parts | {"vae": other}, schedule, hashlib.sha256(f"{fingerprint} vae {sha256}".encode()).hexdigest()


def device_of(name: str) -> torch.device:
    """Return the device called ``name`` ("cpu", "cuda:1", "mps"); raises LabError("spec") where torch finds none such here."""
    kind, _, index = name.partition(":")
    n_devices = DEVICES[kind].count() if kind in DEVICES else 0
    if kind in DEVICES and (not index or index.isdigit()) and int(index or 0) < n_devices:
        return torch.device(name)
    choices = f"one of {', '.join(DEVICES)}; cuda:1 is the second"
    if kind not in DEVICES:
        raise lab_error("spec", f"device {name!r}", choices, "`loralab doctor` lists what this machine has")
    found = f"device {name!r}, but torch {torch.__version__} finds {n_devices} {DEVICES[kind].called} devices on this machine"
    raise lab_error("spec", found, choices, f"{DEVICES[kind].needs}; `loralab doctor` lists what this machine has")


def overruled(found: Mapping[str, Any], load: LoadSpec) -> dict[str, Any]:
    """Return the scheduler's configuration with what the study says on top; raises LabError("model") for one that cannot work."""
    config = dict(found)
    if load.prediction is not None:
        config["prediction_type"] = load.prediction
    if load.zero_terminal_snr is not None:
        config["rescale_betas_zero_snr"] = load.zero_terminal_snr
    if config.get("rescale_betas_zero_snr") and config.get("prediction_type", "epsilon") == "epsilon":
        found_words = "a noise schedule that ends in pure noise (zero terminal SNR) on a base that predicts that noise"
        do = "set `load: {prediction: v_prediction}` if it is a v-prediction model, or `zero_terminal_snr: false`"
        raise lab_error(
            "model",
            found_words,
            "v-prediction to go with it (Lin et al. 2023): at pure noise, predicting the noise says nothing about the picture",
            do,
        )
    return config


def _latent_side(unet: Any, factor: int, load: LoadSpec) -> int:
    side = int(unet.config.sample_size) if load.size_px is None else load.size_px // factor
    steps = 2 ** (len(unet.config.block_out_channels) - 1)
    if side % steps:
        found = f"pictures of {side * factor} px, which are {side} latents wide"
        raise lab_error("model", found, f"a side that is a multiple of {steps * factor} px", "choose a different `size_px` under `load`")
    return side


def _fingerprint_as_held(files: str, load: LoadSpec, found: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """Return the files' own fingerprint where they are used as they are; another one in another precision, size or schedule."""
    changed: dict[str, Any] = {key: value for key, value in used.items() if found.get(key) != value}
    changed |= load.model_dump(include={"precision", "size_px"}, exclude_defaults=True)
    return hashlib.sha256(f"{files} {json.dumps(changed, sort_keys=True)}".encode()).hexdigest() if changed else files


def _family_of(folder: Path, reference: str) -> Family:
    index = folder / "model_index.json"
    if not index.is_file():
        found = f"the base {reference!r} is a folder without model_index.json" if folder.is_dir() else f"no base at {reference!r}"
        expected = "`petri`, or the path of a diffusers folder or of a .safetensors checkpoint"
        raise lab_error("model", found, expected, "check `base:` in the study")
    name = str(read_json(index).get("_class_name"))
    pipelines = {family.pipeline: family for family in FAMILIES.values()}
    if name not in pipelines:
        raise lab_error("model", f"the base {reference!r} is a {name}", f"one of {', '.join(pipelines)}", "this version cannot use it yet")
    return pipelines[name]


def sha256_of(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes: what other tools show the first ten digits of."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A VAE in place of the base's own: a reference in, the autoencoder and the hash of its file out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open

from loralab.bases.checkpoint import SIZE_PX, VAE, VAE_SCALE, unknown_layout, vae_config
from loralab.bases.folder import UNSAFE_SUFFIXES, load_part, weight_files
from loralab.bases.header import CONVERT, Header, read_header
from loralab.bases.single_file import make_part
from loralab.errors import lab_error
from loralab.spec.elsewhere import named_path

WANTED = "a VAE as a .safetensors file, or the folder of one in diffusers' layout"


def load_vae(reference: str, family: str) -> tuple[AutoencoderKL, str]:
    """Return the VAE that ``reference`` names, float32, for a base of ``family``, and the sha256 (hex) of its weights.

    A folder of diffusers, or a file in the original layout or in diffusers', alone or inside a checkpoint: latents are then scaled as the
    family's own. Raises LabError("model").
    """
    path = named_path(reference, Path())
    if path.is_dir():
        place = path if (path / "config.json").is_file() else path / "vae"
        vae = load_part(place, AutoencoderKL, torch.float32)
        return vae, _sha256_of(weight_files(place)[1])
    if path.suffix.lower() in UNSAFE_SUFFIXES:
        found = f"the VAE {reference!r} is a pickle, which can run any code when it is opened"
        raise lab_error("model", found, WANTED, CONVERT)
    if not path.is_file():
        raise lab_error("model", f"no VAE at {reference!r}", WANTED, "check `vae:` under `load`")
    return _from_file(path, family), _sha256_of([path])


def _from_file(path: Path, family: str) -> AutoencoderKL:
    header = read_header(path)
    inside = VAE if any(key.startswith(VAE) for key in header.shapes) else ""
    shapes = {key.removeprefix(inside): shape for key, shape in header.shapes.items() if key.startswith(inside)}
    with safe_open(path, framework="pt") as file:
        if "encoder.down.0.block.0.conv1.weight" in shapes:
            tensors = {VAE + key: file.get_tensor(inside + key) for key in shapes}
            config = _config(path.name, header, shapes, family)
            return make_part(path.name, family, "vae", config, tensors, torch.float32)  # type: ignore[return-value]
        if "encoder.down_blocks.0.resnets.0.conv1.weight" in shapes:
            return _in_diffusers_names(path.name, shapes, {key: file.get_tensor(inside + key) for key in shapes}, family)
    raise lab_error("model", f"{path.name} holds no VAE that is known here", WANTED, "")


def _config(name: str, header: Header, shapes: Mapping[str, tuple[int, ...]], family: str) -> dict[str, Any]:
    try:
        return vae_config({VAE + key: shape for key, shape in shapes.items()}, family)
    except (KeyError, IndexError, ValueError) as error:
        raise unknown_layout(name, family, str(error)) from error


def _in_diffusers_names(
    name: str, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, torch.Tensor], family: str
) -> AutoencoderKL:
    levels = 1 + max(int(found[1]) for key in shapes if (found := re.match(r"encoder\.down_blocks\.(\d+)\.", key)))
    per_level = 1 + max(int(found[1]) for key in shapes if (found := re.match(r"encoder\.down_blocks\.0\.resnets\.(\d+)\.", key)))
    config = {
        "latent_channels": shapes["decoder.conv_in.weight"][1], "layers_per_block": per_level,
        "block_out_channels": [shapes[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"][0] for i in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels,
        "scaling_factor": VAE_SCALE[family], "sample_size": SIZE_PX[family],
    }  # fmt: skip
    try:
        vae = AutoencoderKL(**config)
        vae.load_state_dict({key: value.to(torch.float32) for key, value in tensors.items()}, strict=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise unknown_layout(name, family, str(error).splitlines()[0]) from error
    return vae


def _sha256_of(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

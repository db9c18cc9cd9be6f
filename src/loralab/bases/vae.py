"""A VAE in place of the base's own: a reference in, the autoencoder and the hash of its file out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors import safe_open

from loralab.bases.checkpoint import config_of
from loralab.bases.family import FAMILIES
from loralab.bases.folder import UNSAFE_SUFFIXES, load_part, weight_files
from loralab.bases.header import CONVERT, read_header
from loralab.bases.ldm_config import VAE
from loralab.bases.ldm_weights import make_part, unknown_layout
from loralab.bases.parts import Shapes
from loralab.errors import lab_error
from loralab.spec.elsewhere import named_path

#: a tensor that every VAE has, by its original name and by diffusers'
ORIGINAL, OF_DIFFUSERS = "encoder.down.0.block.0.conv1.weight", "encoder.down_blocks.0.resnets.0.conv1.weight"
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
        found = f"the VAE {reference!r} is a pickle file, which can run arbitrary code when opened"
        raise lab_error("model", found, WANTED, CONVERT)
    if not path.is_file():
        raise lab_error("model", f"no VAE at {reference!r}", WANTED, "check `vae:` under `load`")
    return _from_file(path, family), _sha256_of([path])


def _from_file(path: Path, family: str) -> AutoencoderKL:
    header = read_header(path)
    inside = VAE if any(key.startswith(VAE) for key in header.shapes) else ""
    shapes = {VAE + key.removeprefix(inside): shape for key, shape in header.shapes.items() if key.startswith(inside)}
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(inside + key.removeprefix(VAE)) for key in shapes} if _is_vae(shapes) else {}
    place = FAMILIES[family].parts["vae"].in_file
    if not tensors or place is None:
        raise lab_error("model", f"{path.name} is not a kind of VAE that loralab knows", WANTED)
    config = config_of(path.name, shapes, family, "vae")
    if VAE + ORIGINAL in shapes:
        return make_part(path.name, family, "vae", place, config, tensors, torch.float32)
    try:
        vae = AutoencoderKL(**config)
        vae.load_state_dict({key.removeprefix(VAE): value.to(torch.float32) for key, value in tensors.items()}, strict=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise unknown_layout(path.name, family, str(error).splitlines()[0]) from error
    return vae


def _is_vae(shapes: Shapes) -> bool:
    return VAE + ORIGINAL in shapes or VAE + OF_DIFFUSERS in shapes


def _sha256_of(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

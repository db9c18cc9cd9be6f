"""A checkpoint of one file: what it is, read off its header alone, and the parts of the base in it; without a download."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from loralab.bases.family import FAMILIES, Family
from loralab.bases.header import Header, read_header
from loralab.bases.ldm_config import UNET, VAE
from loralab.bases.ldm_weights import make_part, unknown_layout
from loralab.bases.parts import PartSpec, Shapes
from loralab.errors import lab_error

#: parts of tensor names that tell what a file is instead; the first that is found counts
NOT_YET = (
    ("lora_unet_", "a LoRA"), ("lora_te", "a LoRA"), (".lora_down.", "a LoRA"), (".lora_A.", "a LoRA"),
    ("control_model.", "a ControlNet"), ("motion_modules.", "AnimateDiff"),
    ("edm_mean", "Playground 2.5"), ("edm_vpred.", "a checkpoint of CosXL (EDM)"),
    ("cond_stage_model.model.", "Stable Diffusion 2"), ("conditioner.embedders.0.model.", "the refiner of SDXL"),
    ("joint_blocks.", "Stable Diffusion 3"), ("distilled_guidance_layer.", "Chroma"),
    ("double_stream_modulation", "FLUX.2"), ("double_stream_blocks.", "HiDream"),
    ("double_blocks.", "FLUX.1 or another DiT of double blocks"),
    ("double_layers.", "AuraFlow"), ("cap_embedder.", "Lumina or Z-Image"), ("patchify_proj.", "LTX-Video"), ("head.modulation", "Wan"),
    ("clip_txt_mapper.", "Stable Cascade"), ("clip_txt_pooled_mapper.", "Stable Cascade"), ("txt_norm.", "Qwen-Image"),
    ("net.blocks.", "Cosmos or Anima"), ("y_embedder.", "PixArt or Sana"), ("transformer_blocks.0.", "a transformer (DiT)"),
)  # fmt: skip
#: a tensor that a part of a U-Net pipeline has, by the names of diffusers and of the original layout, with and without a prefix
LONE_PARTS = (
    *((start + "input_blocks.0.0.weight", "a UNet (with the original names)") for start in ("", "diffusion_model.")),
    *((start + "conv_in.weight", "a UNet (with diffusers' names)") for start in ("", "unet.", "diffusion_model.")),
    *((start + "encoder.conv_in.weight", "a VAE") for start in ("", VAE, "vae.")),
    *((start + "embeddings.token_embedding.weight", "a text encoder (CLIP)") for start in ("text_model.", "", "transformer.text_model.")),
    ("positional_embedding", "a text encoder (OpenCLIP)"),
)  # fmt: skip
#: what tools have put before every name of a checkpoint
WRAPPERS = ("state_dict.", "module.")
WANTED = "an SD1 or SDXL checkpoint with UNet, text encoder(s) and VAE in one file"


def unwrapped(header: Header) -> tuple[Header, str]:
    """Return (the header with names as a checkpoint has them, what stood before each): "state_dict." where a tool saved it wrapped."""
    wrapper = next((start for start in WRAPPERS if all(key.startswith(start) for key in header.shapes)), "") if header.shapes else ""
    if not wrapper:
        return header, ""
    shapes = {key.removeprefix(wrapper): shape for key, shape in header.shapes.items()}
    return Header(shapes, {key.removeprefix(wrapper): kind for key, kind in header.dtypes.items()}, header.metadata), wrapper


def family_of(name: str, header: Header, *, without: Collection[str] = ()) -> str:
    """Return "sd1" or "sdxl" of the checkpoint called ``name``; raises LabError("model") that says what it is, where that can be told.

    The parts in ``without`` may be missing.
    """
    shapes = header.shapes
    entry = shapes.get(UNET + "input_blocks.0.0.weight")
    lone = next((what for part, what in LONE_PARTS if part in shapes), None) if entry is None else None
    if lone is not None:
        raise lab_error("model", f"{name} is only {lone}", WANTED, "give the complete checkpoint it was taken from, or a diffusers folder")
    stranger = (
        next((what for part, what in NOT_YET if any(part in key for key in shapes)), None) if entry is None or _odd_text(shapes) else None
    )
    if stranger is not None:
        raise lab_error("model", f"{name} is {stranger}", WANTED, "this version cannot use it as a base yet")
    if entry is None:
        raise lab_error(
            "model", f"{name} is not a kind of checkpoint that loralab knows", WANTED, "or give the path of a complete diffusers folder"
        )
    _check_channels(name, entry)
    family = next(family for family in FAMILIES.values() if family.recognise(header))
    _check_parts(name, shapes, family, without)
    return family.name


def _odd_text(shapes: Shapes) -> bool:
    """Return whether the checkpoint has an LDM UNet with another text encoder than SD1's or SDXL's, or another way to predict."""
    return any(key.startswith(("cond_stage_model.model.", "conditioner.embedders.0.model.", "control_model.", "edm_")) for key in shapes)


def _check_channels(name: str, entry: tuple[int, ...]) -> None:
    kinds = {9: "an inpainting model", 8: "an edit model (InstructPix2Pix)", 5: "a depth model", 7: "an upscaler"}
    if len(entry) != 4 or entry[1] != 4:
        channels = entry[1] if len(entry) == 4 else 0
        found = f"{name} is {kinds.get(channels, 'not a text-to-image model')}: its UNet takes {channels} channels"
        raise lab_error("model", found, "4, as text-to-image models do", "this version cannot use it as a base yet")


def _check_parts(name: str, shapes: Shapes, family: Family, without: Collection[str]) -> None:
    wanted = [part for key, part in family.parts.items() if part.in_file is not None and key not in without]
    lacking = [part for part in wanted if part.in_file and not any(key.startswith(part.in_file.prefix) for key in shapes)]
    if lacking:
        do = "merge one in, or save the whole pipeline as a diffusers folder"
        if [part.role for part in lacking] == ["vae"]:
            do = "give one under `load` as `vae: PATH`, or save the whole pipeline as a diffusers folder"
        raise lab_error("model", f"{name} has no {' and no '.join(part.called for part in lacking)} in it", WANTED, do)


# --- reading ---------------------------------------------------------------------------------------------------------------


def held_as(spec: PartSpec, dtype: torch.dtype) -> torch.dtype:
    """Return the type in which a part of a base of ``dtype`` is held: the VAE in float32, because SDXL's overflows in fp16."""
    return torch.float32 if spec.role == "vae" else dtype


def load_parts(path: Path, dtype: torch.dtype, *, without: Collection[str] = ()) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return (family, parts by name, scheduler configuration) of the checkpoint at ``path``, held in ``dtype``.

    Parts that are named in ``without`` are not read, and may be missing. Raises LabError("model"): nothing is filled with random numbers,
    and nothing that belongs to a model is left aside.
    """
    header, wrapper = unwrapped(read_header(path))
    family = family_of(path.name, header, without=without)
    specs = FAMILIES[family].parts
    configs = configs_of(path.name, header, family, without=without)
    parts: dict[str, Any] = {name: spec.blank() for name, spec in specs.items() if spec.blank is not None}
    with safe_open(path, framework="pt") as file:
        for name, config in configs.items():
            place = specs[name].in_file
            assert place is not None, name
            tensors = {key: file.get_tensor(wrapper + key) for key in header.shapes if key.startswith(place.prefix)}
            parts[name] = make_part(path.name, family, name, place, config, tensors, held_as(specs[name], dtype))
    return family, parts, FAMILIES[family].schedule_config(header)


def configs_of(name: str, header: Header, family: str, *, without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the configuration of each model part that is wanted, as diffusers and transformers take them; raises LabError("model")."""
    found = {}
    for part, spec in FAMILIES[family].parts.items():
        if spec.in_file is not None and part not in without:
            found[part] = config_of(name, header.shapes, family, part)
    return found


def config_of(name: str, shapes: Shapes, family: str, part: str) -> dict[str, Any]:
    """Return the configuration of one model part by the shapes of its tensors; raises LabError("model")."""
    place = FAMILIES[family].parts[part].in_file
    assert place is not None, part
    try:
        return place.config(shapes)
    except KeyError as error:
        raise lab_error(
            "model", f"{error.args[0]} is missing from the {part} of {name}", "every weight", "check that the download is complete"
        ) from error
    except (IndexError, ValueError, ZeroDivisionError, StopIteration) as error:
        raise unknown_layout(name, family, str(error)) from error

"""Models with the weights of a checkpoint in the original (LDM) layout: a configuration and tensors in, a model out, without a download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loralab.bases.ldm_config import OPEN_CLIP, clip_name
from loralab.bases.parts import Convert, InFile, State
from loralab.errors import LabError, lab_error

#: what checkpoints carry along and no model here has: position numbers, CLIP's own head, training remains of the VAE
UNUSED = ("position_ids", "logit_scale", "text_model.text_projection", "loss.")

#: the layers of a VAE's attention by diffusers' names, of today and before 0.19, and by the original ones
VAE_ATTENTION = {
    "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
    "group_norm": "norm",
}  # fmt: skip


def make_part(
    file: str, family: str, name: str, spec: InFile, config: Mapping[str, Any], tensors: State, dtype: torch.dtype
) -> torch.nn.Module:
    """Return the model of a configuration with the checkpoint's weights; memory is taken for these alone, never for initial values.

    Raises LabError("model"): nothing is filled with random numbers, and nothing that belongs to the model is left aside.
    """
    try:
        with torch.device("meta"):
            model, convert = spec.make(config)
        state = {key: value for key, value in convert(model, tensors).items() if not any(part in key for part in UNUSED)}
        state = _as_model_names(model, state)
    except (KeyError, IndexError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise unknown_layout(file, family, f"{name}: {error}") from error
    _check_state(file, family, name, model, state)
    model.load_state_dict({key: value.to(dtype) for key, value in state.items()}, strict=True, assign=True)
    _fill_positions(model)
    return model


def _check_state(file: str, family: str, name: str, model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    lacking = sorted(wanted.keys() - state.keys())
    if lacking:
        shown = ", ".join(lacking[:5])
        raise lab_error(
            "model",
            f"{len(lacking)} weights of the {name} are missing from {file}: {shown}",
            "every weight",
            "check that the download is complete",
        )
    strange = sorted(state.keys() - wanted.keys())
    if strange:
        raise unknown_layout(file, family, f"{name} has {len(strange)} tensors that belong nowhere: {', '.join(strange[:5])}")
    misfits = [key for key, shape in wanted.items() if tuple(state[key].shape) != shape]
    if misfits:
        one = misfits[0]
        raise unknown_layout(file, family, f"{name}: {one} has shape {list(state[one].shape)}, not {list(wanted[one])}")


def _as_model_names(model: torch.nn.Module, state: State) -> State:
    """Return ``state`` under the model's own names: transformers 5 leaves `text_model.` out of CLIPTextModel's."""
    if hasattr(model, "text_model") or not isinstance(model, CLIPTextModel):
        return state
    return {key.removeprefix("text_model."): value for key, value in state.items()}


def _fill_positions(model: torch.nn.Module) -> None:
    """Give the position numbers their values: they are in no file, and the model was made without memory."""
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta and name == "position_ids":
                module.register_buffer(name, torch.arange(buffer.shape[-1]).expand(buffer.shape).clone(), persistent=False)


def make_unet(config: Mapping[str, Any]) -> tuple[torch.nn.Module, Convert]:
    """Return an LDM U-Net of a configuration, and what converts its tensors."""
    return UNet2DConditionModel(**config), lambda model, tensors: convert_ldm_unet_checkpoint(tensors, dict(model.config))


def make_vae(config: Mapping[str, Any]) -> tuple[torch.nn.Module, Convert]:
    """Return an LDM autoencoder likewise."""

    def convert(model: Any, tensors: State) -> State:
        return dict(convert_ldm_vae_checkpoint({ldm_attention(key): value for key, value in tensors.items()}, dict(model.config)))

    return AutoencoderKL(**config), convert


def ldm_attention(key: str) -> str:
    """Return a VAE's tensor name with its attention named as in the original layout; some tools write diffusers' names inside it."""
    before, attention, name = key.partition(".attn_1.")
    if not attention:
        return key
    layer = next((theirs for theirs in VAE_ATTENTION if name.startswith(theirs + ".")), None)
    return key if layer is None else before + attention + VAE_ATTENTION[layer] + name.removeprefix(layer)


def make_clip(config: Mapping[str, Any]) -> tuple[torch.nn.Module, Convert]:
    """Return CLIP's text encoder likewise."""

    def convert(model: Any, tensors: State) -> State:
        return {clip_name(key): value for key, value in convert_ldm_clip_checkpoint(tensors).items()}

    return CLIPTextModel(CLIPTextConfig(**config)), convert


def make_open_clip(config: Mapping[str, Any]) -> tuple[torch.nn.Module, Convert]:
    """Return OpenCLIP's text encoder likewise."""

    def convert(model: Any, tensors: State) -> State:
        linear = tensors.pop(OPEN_CLIP + "text_projection.weight", None)  # a linear layer's weight, as ComfyUI saves it
        matrix = {} if linear is None else {OPEN_CLIP + "text_projection": linear.T.contiguous()}
        return dict(convert_open_clip_checkpoint(model, tensors | matrix, prefix=OPEN_CLIP))

    return CLIPTextModelWithProjection(CLIPTextConfig(**config)), convert


def unknown_layout(name: str, family: str, why: str) -> LabError:
    """Return the error for a checkpoint whose tensors do not follow its family's plan."""
    found = f"{name} is not built like {family}: {why[:200]}"
    return lab_error("model", found, "the family's layout", "for a pruned or enlarged variant, use its diffusers folder")

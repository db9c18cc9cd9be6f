"""What a single-file checkpoint is, read off its header alone: names and shapes in; a family, its configurations and its prediction out.

Widths, depths and places of attention are those of the tensors; what no shape tells (heads, activation, latent scale) is the family's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from loralab.bases.header import Header
from loralab.errors import LabError, lab_error

Shapes = Mapping[str, tuple[int, ...]]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_PREFIX = {"sd1": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}
OPEN_CLIP_PREFIX = "conditioner.embedders.1.model."
HEAD_WIDTH = 64  # of SDXL's UNet and of both text encoders
SD1_HEADS = 8
TIME_ID_WIDTH = 256
#: the noise schedule of Rombach et al. 2022, which both families keep
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
    "set_alpha_to_one": False, "clip_sample": False,
}  # fmt: skip
VAE_SCALE = {"sd1": 0.18215, "sdxl": 0.13025}
SIZE_PX = {"sd1": 512, "sdxl": 1024}

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
    *((start + "input_blocks.0.0.weight", "a UNet (its names are the original ones)") for start in ("", "diffusion_model.")),
    *((start + "conv_in.weight", "a UNet (its names are diffusers')") for start in ("", "unet.", "diffusion_model.")),
    *((start + "encoder.conv_in.weight", "a VAE") for start in ("", VAE, "vae.")),
    *((start + "embeddings.token_embedding.weight", "a text encoder (CLIP)") for start in ("text_model.", "", "transformer.text_model.")),
    ("positional_embedding", "a text encoder (OpenCLIP)"),
)  # fmt: skip
#: what tools have put before every name of a checkpoint
WRAPPERS = ("state_dict.", "module.")
WANTED = "a checkpoint of SD1 or SDXL with UNet, text encoder(s) and VAE in one file"


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
        raise lab_error("model", f"{name} is {lone} alone", WANTED, "give the whole checkpoint that it was cut from, or a diffusers folder")
    stranger = (
        next((what for part, what in NOT_YET if any(part in key for key in shapes)), None) if entry is None or _odd_text(shapes) else None
    )
    if stranger is not None:
        raise lab_error("model", f"{name} is {stranger}", WANTED, "this version cannot use it as a base yet")
    if entry is None:
        raise lab_error("model", f"{name} is no checkpoint that is known here", WANTED, "or give the path of a whole diffusers folder")
    _check_channels(name, entry)
    family = "sdxl" if any(key.startswith("conditioner.") for key in shapes) else "sd1"
    _check_parts(name, shapes, family, without)
    return family


def _odd_text(shapes: Shapes) -> bool:
    """Return whether the checkpoint has an LDM UNet with another text encoder than SD1's or SDXL's, or another way to predict."""
    return any(key.startswith(("cond_stage_model.model.", "conditioner.embedders.0.model.", "control_model.", "edm_")) for key in shapes)


def _check_channels(name: str, entry: tuple[int, ...]) -> None:
    kinds = {9: "an inpainting model", 8: "an edit model (InstructPix2Pix)", 5: "a depth model", 7: "an upscaler"}
    if len(entry) != 4 or entry[1] != 4:
        channels = entry[1] if len(entry) == 4 else 0
        found = f"{name} is {kinds.get(channels, 'no text-to-image model')}: its UNet takes {channels} channels"
        raise lab_error("model", found, "4, as text-to-image models do", "this version cannot use it as a base yet")


def _check_parts(name: str, shapes: Shapes, family: str, without: Collection[str]) -> None:
    wanted = {} if "vae" in without else {"VAE": (VAE,)}
    wanted["text encoder"] = (CLIP_PREFIX[family],)
    if family == "sdxl":
        wanted["second text encoder"] = (OPEN_CLIP_PREFIX,)
    lacking = [part for part, starts in wanted.items() if not any(key.startswith(starts) for key in shapes)]
    if lacking:
        do = "merge it in, or save the whole pipeline as a diffusers folder"
        if lacking == ["VAE"]:
            do = "name one under `load`, `vae: PATH`, or save the whole pipeline as a diffusers folder"
        raise lab_error("model", f"{name} has no {' and no '.join(lacking)} in it", WANTED, do)


# --- prediction ---------------------------------------------------------------------------------------------------------


def schedule_config(header: Header) -> dict[str, Any]:
    """Return the scheduler's configuration: v-prediction and zero-terminal SNR where the file says so, by key or by metadata.

    Trainers mark such checkpoints by empty tensors called `v_pred` and `ztsnr`, or in modelspec's `prediction_type`.
    """
    said = header.metadata.get("modelspec.prediction_type", "").strip().lower()
    velocity = "v_pred" in header.shapes or said in ("v", "v_prediction", "v-prediction")
    zero = "ztsnr" in header.shapes or header.metadata.get("ss_zero_terminal_snr", "").strip().lower() == "true"
    return SCHEDULE | {"prediction_type": "v_prediction" if velocity else "epsilon", "rescale_betas_zero_snr": zero}


# --- configurations -----------------------------------------------------------------------------------------------------


def configs_of(name: str, header: Header, family: str, *, without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the configuration of each model part that is wanted, as diffusers and transformers take them; raises LabError("model")."""
    readers: dict[str, Callable[[Shapes], dict[str, Any]]] = {
        "unet": lambda shapes: unet_config(shapes, family), "vae": lambda shapes: vae_config(shapes, family),
        "text_encoder": lambda shapes: clip_config(shapes, family),
    }  # fmt: skip
    if family == "sdxl":
        readers["text_encoder_2"] = open_clip_config
    found = {}
    for part, read in readers.items():
        if part not in without:
            try:
                found[part] = read(header.shapes)
            except KeyError as error:
                raise lab_error(
                    "model", f"{name} lacks {error.args[0]} of its {part}", "every weight", "is the download complete?"
                ) from error
            except (IndexError, ValueError, ZeroDivisionError, StopIteration) as error:
                raise unknown_layout(name, family, str(error)) from error
    return found


def unknown_layout(name: str, family: str, why: str) -> LabError:
    """Return the error for a checkpoint whose tensors do not follow its family's plan."""
    found = f"{name} is not built as {family} is: {why[:200]}"
    return lab_error("model", found, "the family's layout", "pruned or enlarged variants need their diffusers folder")


def unet_config(shapes: Shapes, family: str) -> dict[str, Any]:
    """Return the configuration of an LDM UNet; its levels end where a downsampler stands."""
    part = _under(shapes, UNET)
    n_inputs = 1 + max(int(key.split(".")[1]) for key in part if key.startswith("input_blocks."))
    downs = [i for i in range(n_inputs) if f"input_blocks.{i}.0.op.weight" in part]
    per_level = downs[0] - 1
    firsts = [1, *(i + 1 for i in downs)]
    channels = [part[f"input_blocks.{i}.0.out_layers.3.weight"][0] for i in firsts]
    depths = [_count(part, f"input_blocks.{i}.1.transformer_blocks.") for i in firsts]
    attended = next(i for i, depth in zip(firsts, depths, strict=True) if depth)
    config: dict[str, Any] = {
        "sample_size": SIZE_PX[family] // 8, "in_channels": 4, "out_channels": part["out.2.weight"][0], "layers_per_block": per_level,
        "block_out_channels": channels,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "cross_attention_dim": part[f"input_blocks.{attended}.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": len(part[f"input_blocks.{attended}.1.proj_in.weight"]) == 2,
        "attention_head_dim": SD1_HEADS if family == "sd1" else [width // HEAD_WIDTH for width in channels],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
    }  # fmt: skip
    if family == "sdxl":
        config |= {
            "addition_embed_type": "text_time", "addition_time_embed_dim": TIME_ID_WIDTH,
            "projection_class_embeddings_input_dim": part["label_emb.0.0.weight"][1],
        }  # fmt: skip
    return config


def vae_config(shapes: Shapes, family: str) -> dict[str, Any]:
    """Return the configuration of an LDM autoencoder."""
    part = _under(shapes, VAE)
    n_levels = _count(part, "encoder.down.")
    return {
        "in_channels": 3, "out_channels": 3, "latent_channels": part["decoder.conv_in.weight"][1],
        "block_out_channels": [part[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(n_levels)],
        "layers_per_block": _count(part, "encoder.down.0.block."), "down_block_types": ["DownEncoderBlock2D"] * n_levels,
        "up_block_types": ["UpDecoderBlock2D"] * n_levels, "scaling_factor": VAE_SCALE[family], "sample_size": SIZE_PX[family],
    }  # fmt: skip


def clip_config(shapes: Shapes, family: str) -> dict[str, Any]:
    """Return the configuration of CLIP's text encoder (Radford et al. 2021), the first one of either family."""
    part = {clip_name(key): shape for key, shape in _under(shapes, CLIP_PREFIX[family]).items()}
    width = part["text_model.embeddings.token_embedding.weight"][1]
    return _text_config(
        part["text_model.embeddings.token_embedding.weight"][0], part["text_model.embeddings.position_embedding.weight"][0], width,
        part["text_model.encoder.layers.0.mlp.fc1.weight"][0], _count(part, "text_model.encoder.layers."), 768, "quick_gelu",
    )  # fmt: skip


def open_clip_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of OpenCLIP's text encoder, SDXL's second one."""
    part = _under(shapes, OPEN_CLIP_PREFIX)
    n_tokens, width = part["token_embedding.weight"]
    return _text_config(
        n_tokens, part["positional_embedding"][0], width, part["transformer.resblocks.0.mlp.c_fc.weight"][0],
        _count(part, "transformer.resblocks."), _projection(part), "gelu",
    )  # fmt: skip


def _projection(part: Shapes) -> int:
    """Return the width of OpenCLIP's pooled vector: a matrix (in, out), or a linear layer's weight (out, in) as ComfyUI saves it."""
    return part["text_projection.weight"][0] if "text_projection.weight" in part else part["text_projection"][1]


def _text_config(n_tokens: int, positions: int, width: int, inner: int, layers: int, projection: int, activation: str) -> dict[str, Any]:
    return {
        "vocab_size": n_tokens, "max_position_embeddings": positions, "hidden_size": width, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": width // HEAD_WIDTH, "projection_dim": projection, "hidden_act": activation,
        # these two as published; the end token is then looked for as the highest number
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip


def clip_name(key: str) -> str:
    """Return a text encoder's tensor name as it is since 2022; older merges lack `text_model.` in it."""
    return key if key.startswith("text_model.") else f"text_model.{key}"


def _under(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    return {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}


def _count(names: Iterable[str], prefix: str) -> int:
    """Return how many different numbers follow ``prefix``; raises ValueError where they are not 0, 1, 2, ..."""
    numbers = {int(found[1]) for name in names if (found := re.match(re.escape(prefix) + r"(\d+)\.", name))}
    if numbers != set(range(len(numbers))):
        raise ValueError(f"{prefix} is numbered {sorted(numbers)}")
    return len(numbers)

"""The configurations of a checkpoint in the original (LDM) layout, read off its header alone: shapes in, configurations and prediction out.

Widths, depths and places of attention are those of the tensors; what no shape tells (heads, activation, latent scale) is the family's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from loralab.bases.header import Header
from loralab.bases.parts import Shapes

UNET, VAE, OPEN_CLIP = "model.diffusion_model.", "first_stage_model.", "conditioner.embedders.1.model."
HEAD_WIDTH = 64  # of SDXL's UNet and of both text encoders
TIME_ID_WIDTH = 256
#: the noise schedule of Rombach et al. 2022, which both families keep
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
    "set_alpha_to_one": False, "clip_sample": False,
}  # fmt: skip


def is_unet(header: Header) -> bool:
    """Return whether a checkpoint holds an LDM U-Net."""
    return UNET + "input_blocks.0.0.weight" in header.shapes


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


def unet_config(shapes: Shapes, *, size_px: int, heads: int | None, time_ids: bool) -> dict[str, Any]:
    """Return the configuration of an LDM UNet, as diffusers takes it; its levels end where a downsampler stands.

    ``heads`` of each attention, None where they are 64 wide; ``time_ids``: it is told sizes and a pooled text beside the tokens.
    """
    part = _under(shapes, UNET)
    n_inputs = 1 + max(int(key.split(".")[1]) for key in part if key.startswith("input_blocks."))
    downs = [i for i in range(n_inputs) if f"input_blocks.{i}.0.op.weight" in part]
    per_level = downs[0] - 1
    firsts = [1, *(i + 1 for i in downs)]
    channels = [part[f"input_blocks.{i}.0.out_layers.3.weight"][0] for i in firsts]
    depths = [_count(part, f"input_blocks.{i}.1.transformer_blocks.") for i in firsts]
    attended = next(i for i, depth in zip(firsts, depths, strict=True) if depth)
    config: dict[str, Any] = {
        "sample_size": size_px // 8, "in_channels": 4, "out_channels": part["out.2.weight"][0], "layers_per_block": per_level,
        "block_out_channels": channels,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "cross_attention_dim": part[f"input_blocks.{attended}.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": len(part[f"input_blocks.{attended}.1.proj_in.weight"]) == 2,
        "attention_head_dim": [width // HEAD_WIDTH for width in channels] if heads is None else heads,
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
    }  # fmt: skip
    if time_ids:
        config |= {
            "addition_embed_type": "text_time", "addition_time_embed_dim": TIME_ID_WIDTH,
            "projection_class_embeddings_input_dim": part["label_emb.0.0.weight"][1],
        }  # fmt: skip
    return config


def vae_config(shapes: Shapes, *, scale: float, size_px: int) -> dict[str, Any]:
    """Return the configuration of an autoencoder, named as in LDM or in diffusers, whose latents are multiplied by ``scale``."""
    part = _under(shapes, VAE)
    level, block = ("encoder.down_blocks.", "resnets") if _count(part, "encoder.down_blocks.") else ("encoder.down.", "block")
    n_levels = _count(part, level)
    return {
        "in_channels": 3, "out_channels": 3, "latent_channels": part["decoder.conv_in.weight"][1],
        "block_out_channels": [part[f"{level}{i}.{block}.0.conv1.weight"][0] for i in range(n_levels)],
        "layers_per_block": _count(part, f"{level}0.{block}."), "down_block_types": ["DownEncoderBlock2D"] * n_levels,
        "up_block_types": ["UpDecoderBlock2D"] * n_levels, "scaling_factor": scale, "sample_size": size_px,
    }  # fmt: skip


def clip_config(shapes: Shapes, *, prefix: str) -> dict[str, Any]:
    """Return the configuration of CLIP's text encoder (Radford et al. 2021), whose tensors' names begin with ``prefix``."""
    part = {clip_name(key): shape for key, shape in _under(shapes, prefix).items()}
    width = part["text_model.embeddings.token_embedding.weight"][1]
    return _text_config(
        part["text_model.embeddings.token_embedding.weight"][0], part["text_model.embeddings.position_embedding.weight"][0], width,
        part["text_model.encoder.layers.0.mlp.fc1.weight"][0], _count(part, "text_model.encoder.layers."), 768, "quick_gelu",
    )  # fmt: skip


def open_clip_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of OpenCLIP's text encoder, SDXL's second one."""
    part = _under(shapes, OPEN_CLIP)
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

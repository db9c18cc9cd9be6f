"""Writes small random pipelines: a diffusers folder, and the same weights under the names and shapes of original (LDM) checkpoints.

The names are put together here by hand, from CompVis/stable-diffusion's and Stability-AI/generative-models' module trees.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loralab.bases.tokens import make_clip_tokenizer

WIDTH = 64  # of every text encoder here: one head
State = dict[str, torch.Tensor]


def small_parts(family: str) -> dict[str, Any]:
    """Return a random pipeline's parts, with the heads and activations of the family at full size."""
    text = {
        "vocab_size": 49408, "hidden_size": WIDTH, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1,
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    shared: dict[str, Any] = {"sample_size": 32, "in_channels": 4, "out_channels": 4, "layers_per_block": 1}
    sd1 = {
        "block_out_channels": (32, 64), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "attention_head_dim": 8,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": WIDTH,
    }  # fmt: skip
    sdxl = {
        "block_out_channels": (64, 128), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": (1, 2),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 2 * WIDTH, "use_linear_projection": True,
        "transformer_layers_per_block": (1, 2), "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": WIDTH + 6 * 256,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel(**shared, **(sd1 if family == "sd1" else sdxl)),
            "vae": AutoencoderKL(
                block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=4, layers_per_block=1, sample_size=64, scaling_factor=0.18215 if family == "sd1" else 0.13025,
            ),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**text, hidden_act="quick_gelu", projection_dim=768)),
            "tokenizer": make_clip_tokenizer(),
        }  # fmt: skip
        if family == "sdxl":
            parts["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**text, hidden_act="gelu", projection_dim=WIDTH))
            parts["tokenizer_2"] = make_clip_tokenizer(pad="!")
    return parts


def save_pair(place: Path, family: str) -> tuple[Path, Path]:
    """Write a random pipeline of ``family`` both ways; returns (folder, single file)."""
    parts = small_parts(family)
    schedule = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False, set_alpha_to_one=False
    )
    rest = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False} if family == "sd1" else {}
    kind = StableDiffusionPipeline if family == "sd1" else StableDiffusionXLPipeline
    kind(**parts, scheduler=schedule, **rest).save_pretrained(place / family, safe_serialization=True)
    save_file(checkpoint_state(parts, family), place / f"{family}.safetensors")
    return place / family, place / f"{family}.safetensors"


def checkpoint_state(parts: dict[str, Any], family: str) -> State:
    """Return the tensors of the original checkpoint that holds ``parts``."""
    prefix = "cond_stage_model.transformer.text_model." if family == "sd1" else "conditioner.embedders.0.transformer.text_model."
    state = {f"model.diffusion_model.{key}": value for key, value in ldm_unet(parts["unet"]).items()}
    state |= {f"first_stage_model.{key}": value for key, value in ldm_vae(parts["vae"]).items()}
    state |= {prefix + key.removeprefix("text_model."): value for key, value in parts["text_encoder"].state_dict().items()}
    state[prefix + "embeddings.position_ids"] = torch.arange(77)[None]
    if family == "sdxl":
        state |= {f"conditioner.embedders.1.model.{key}": value for key, value in open_clip(parts["text_encoder_2"]).items()}
        state["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    return {key: value.contiguous().clone() for key, value in state.items()}


RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip


def ldm_unet(unet: Any) -> State:
    """Return a UNet's tensors under the names of openaimodel.py."""
    n = unet.config.layers_per_block
    attended = {b for b, kind in enumerate(unet.config.up_block_types) if kind.startswith("CrossAttn")}
    return {_unet_name(key, n, attended): value for key, value in unet.state_dict().items()}


def _unet_name(key: str, n: int, attended: set[int]) -> str:
    for ours, theirs in UNET_ENDS.items():
        if key.startswith(ours + "."):
            return theirs + key.removeprefix(ours)
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        return f"middle_block.{1 if found[1] == 'attentions' else 2 * int(found[2])}.{_resnet(found[1], found[3])}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", key)
    assert found, key
    side, block, kind, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (n + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{block * (n + 1) + n}.{2 if block in attended else 1}.{rest}"
    place = f"input_blocks.{1 + block * (n + 1) + index}" if side == "down" else f"output_blocks.{block * (n + 1) + index}"
    return f"{place}.{0 if kind == 'resnets' else 1}.{_resnet(kind, rest)}"


def _resnet(kind: str, rest: str) -> str:
    first, _, last = rest.partition(".")
    return f"{RESNET[first]}.{last}" if kind == "resnets" else rest


def ldm_vae(vae: Any) -> State:
    """Return an autoencoder's tensors under the names of LDM's model.py; its attention is made of 1x1 convolutions there."""
    n = len(vae.config.block_out_channels)
    state = {}
    for key, value in vae.state_dict().items():
        name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", key)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{n - 1 - int(m[1])}.block.{m[2]}", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{n - 1 - int(m[1])}.upsample", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in name:
            name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm").replace("to_out.0", "proj_out")
            name = re.sub(r"to_([qkv])", r"\1", name)
            value = value[:, :, None, None] if value.ndim == 2 else value
        state[name] = value
    return state


def open_clip(encoder: Any) -> State:
    """Return a text encoder's tensors as OpenCLIP has them: one matrix for queries, keys and values, the projection transposed."""
    old = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    state = {
        "token_embedding.weight": old["embeddings.token_embedding.weight"], "ln_final.weight": old["final_layer_norm.weight"],
        "positional_embedding": old["embeddings.position_embedding.weight"], "ln_final.bias": old["final_layer_norm.bias"],
        "text_projection": old["text_projection.weight"].T,
    }  # fmt: skip
    for i in range(encoder.config.num_hidden_layers):
        theirs, ours = f"transformer.resblocks.{i}.", f"encoder.layers.{i}."
        for end in ("weight", "bias"):
            state[f"{theirs}attn.in_proj_{end}"] = torch.cat([old[f"{ours}self_attn.{part}_proj.{end}"] for part in "qkv"])
            for name, known in {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
                                "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}.items():  # fmt: skip
                state[f"{theirs}{name}.{end}"] = old[f"{ours}{known}.{end}"]
    return state

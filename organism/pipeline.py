"""The parts of the pipeline: in come a vocabulary and trained parts, out goes a folder in diffusers' layout."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from loralab.petri.text import MAX_TOKENS
from organism.tokens import save_files
from organism.vae import LATENT_CHANNELS

TEXT_WIDTH = 160


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained text encoder, 3 layers x 160."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=5,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


#: channels of the two levels, and layers a block. What other sizes draw after the same time, and cost: docs/results/petri-unets.md
#: (docs/decisions-petri.md: (64, 128) draws as well after fifty minutes and 1.4 times as fast; petri's own size has the hours behind it)
UNET_CHANNELS, UNET_LAYERS = (96, 160), 1


def make_unet(
    channels: tuple[int, ...] = UNET_CHANNELS, layers: int = UNET_LAYERS, side: int = 8, latent_channels: int = LATENT_CHANNELS
) -> UNet2DConditionModel:
    """Return an untrained UNet, 7.3 M parameters unless another size is asked for; text is read at both levels."""
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=channels,
        layers_per_block=layers,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        norm_num_groups=16,
    )


def make_scheduler() -> DDIMScheduler:
    """Return SD1's noise schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )


def make_pipeline(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, vae: AutoencoderKL, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Return the parts as one pipeline, without a safety checker: it was never shown anything unsafe."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_pipeline(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write a pipeline as fp16 safetensors; the pipeline itself keeps its precision."""
    unet, text_encoder, vae = (deepcopy(part).to(torch.float16) for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae))
    make_pipeline(unet, text_encoder, vae, pipeline.tokenizer).save_pretrained(folder, safe_serialization=True)
    save_files(pipeline.tokenizer, folder / "tokenizer")
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)  # where the part lay on the machine that made it
        if "dtype" in config:  # transformers would obey it, and diffusers not: a text encoder in halves beside a UNet that is not
            config["dtype"] = "float32"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes 600, which an installed package must not keep

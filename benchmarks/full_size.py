"""The two families at full size: module counts, configurations and predicted memory; with `--measure`, one real step of SD1.5.

No published weights: the structure is built on the meta device from the published configurations, sent through the checkpoint reader's
eyes, and dry-run. `--measure` trains one step of SD1.5 with constant weights in a process of its own and reads the peak off the system.

    python benchmarks/full_size.py sd1 sdxl
    python benchmarks/full_size.py --measure 256
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loralab.adapters import adapted_layers
from loralab.bases import Base
from loralab.bases.checkpoint import SCHEDULE
from loralab.engine import memory
from loralab.spec import SampleSpec, TrainSpec
from loralab.train import TrainRun, train_stack

UNETS: dict[str, dict[str, Any]] = {
    "sd1": {
        "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768, "attention_head_dim": 8,
        "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
        "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    },
    "sdxl": {
        "sample_size": 128, "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "use_linear_projection": True,
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "transformer_layers_per_block": [1, 2, 10],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    },
}  # fmt: skip
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768}
BIG_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32, "projection_dim": 1280}


class Tokens:
    """Stands for a tokenizer: only the length of a prompt is asked for."""

    model_max_length = 77


def full_base(family: str, size_px: int, dtype: torch.dtype) -> Base:
    """Return a base of the family's full size on the meta device."""
    vae = {
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNETS[family]).to(dtype).requires_grad_(False).eval()
        text = CLIPTextModel(CLIPTextConfig(**CLIP_L)).to(dtype)
        second = CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G)).to(dtype) if family == "sdxl" else None
        coder = AutoencoderKL(**vae).requires_grad_(False).eval()
    side = size_px // 8
    return Base(
        name=family, family=family, unet=unet, vae=coder, text_encoder=text, tokenizer=Tokens(),
        scheduler_config=SCHEDULE | {"prediction_type": "epsilon"}, fingerprint="", size_px=size_px, latent_shape=(4, side, side),
        device=torch.device("cpu"), dtype=dtype, text_encoder_2=second, tokenizer_2=Tokens() if second is not None else None,
    )  # fmt: skip


def on_cpu_without_values(base: Base) -> Base:
    """Return the base with tensors on the CPU that take no memory until they are written to."""
    for part in (base.unet, base.vae):
        part.to_empty(device="cpu")
    return base


def count_layers(family: str) -> dict[str, Any]:
    """Return how many layers of the UNet either set of targets adapts, and its parameters."""
    base = full_base(family, UNETS[family]["sample_size"] * 8, torch.bfloat16)
    counts = {targets: len(adapted_layers(base, targets)) for targets in ("transformer", "transformer+conv")}
    return {"family": family, "unet_layers": counts, "unet_parameters": sum(value.numel() for value in base.unet.parameters())}


def predict_memory(family: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return predicted bytes of a rank-8 stack at batch 1, and of drawing, in the family's own size."""
    started = time.process_time()
    base = on_cpu_without_values(full_base(family, UNETS[family]["sample_size"] * 8, dtype))
    recipe, gib = TrainSpec(rank=8, batch=1), 2**30
    train = {on: memory.train_demand(base, [recipe], checkpointing=on) for on in (False, True)}
    draw = memory.draw_demand(base, SampleSpec(), [recipe])
    return {
        "family": family, "dtype": str(dtype), "size_px": base.size_px, "base_gib": round(memory.weights_bytes(base) / gib, 2),
        "train_gib": {f"{n} LoRAs{', checkpointing' if on else ''}": round(train[on].at(n) / gib, 2) for on in train for n in (1, 4)},
        "draw_gib": {f"{n} pictures": round(draw.at(n) / gib, 2) for n in (1, 4)},
        "dry_runs_cpu_seconds": round(time.process_time() - started, 1),
    }  # fmt: skip


def measure(size_px: int) -> dict[str, Any]:
    """Return predicted and measured peak bytes of one real training step of SD1.5 in float32."""
    torch.set_num_threads(1)
    base = on_cpu_without_values(full_base("sd1", size_px, torch.float32))
    recipe = TrainSpec(rank=8, batch=1, steps=1)
    predicted = memory.train_peak_bytes(base, recipe, 1, checkpointing=False)
    with torch.no_grad():
        for value in base.unet.parameters():
            value.fill_(0.01)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    run = TrainRun("r", recipe, torch.zeros(1, *base.latent_shape), torch.zeros(1, 77, 768), replicate=0)
    started = time.monotonic()
    for _ in train_stack(base, [run], root_seed=0):
        pass
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        "size_px": size_px, "predicted_mib": round(predicted / 2**20), "measured_mib": round(measured / 2**20),
        "measured_over_predicted": round(measured / predicted, 3), "step_seconds": round(time.monotonic() - started, 1),
    }  # fmt: skip


def main() -> None:
    """Print JSON lines: counts, then predictions of each family, then the measured step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", choices=["sd1", "sdxl", []])
    parser.add_argument("--measure", type=int, metavar="PX")
    options = parser.parse_args()
    for family in options.families:
        print(json.dumps(count_layers(family)), flush=True)
    for family in options.families:
        print(json.dumps(predict_memory(family, torch.float32 if family == "sd1" else torch.bfloat16)), flush=True)
    if options.measure:
        print(json.dumps(measure(options.measure)))


if __name__ == "__main__":
    main()

"""The two families at full size: module counts, configurations and predicted memory; with `--measure`, one real step of SD1.5.

No published weights: the structure is built on the meta device from the published configurations, sent through the checkpoint reader's
eyes, and dry-run. `--measure` trains one step of SD1.5 with constant weights in a process of its own and reads the peak off the system.

`--checkpoint` writes a checkpoint of full size with random weights in fp16 under the original names, and uses it: read as one file, a
training step, the adapter's file read back, a picture of one solver step.

    python benchmarks/full_size.py sd1 sdxl
    python benchmarks/full_size.py --measure 256
    python benchmarks/full_size.py --checkpoint sd1 --px 256
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from loralab.adapters import adapted_layers, adapter_sha256, load_adapter, save_adapter
from loralab.bases import Base, embed_prompts, load_base, tokenise
from loralab.bases.ldm_config import SCHEDULE
from loralab.cost import memory
from loralab.sample import Batch, sample_batch
from loralab.spec import LoadSpec, SampleSpec, TrainSpec
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
    parts = {"unet": unet, "vae": coder, "text_encoder": text, "tokenizer": Tokens()}
    if second is not None:
        parts |= {"text_encoder_2": second, "tokenizer_2": Tokens()}
    return Base(
        name=family, family=family, parts=parts,
        scheduler_config=SCHEDULE | {"prediction_type": "epsilon"}, fingerprint="", size_px=size_px, latent_shape=(4, side, side),
        device=torch.device("cpu"), dtype=dtype,
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


# --- a checkpoint with random weights -----------------------------------------------------------------------------------------


def save_random_checkpoint(family: str, file: Path) -> int:
    """Write a checkpoint of ``family`` at full size, values drawn from a narrow normal distribution in fp16; returns its bytes."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit" / "bases"))
    from ldm import ldm_unet, ldm_vae, open_clip

    base = full_base(family, 512, torch.float16)
    generator = torch.Generator().manual_seed(0)
    for part in (base.unet, base.vae, base.text_encoder, *([base.text_encoder_2] if base.text_encoder_2 is not None else [])):
        part.to(torch.float16).to_empty(device="cpu")
        with torch.no_grad():
            for name, value in part.named_parameters():
                value.fill_(1.0) if "norm" in name and name.endswith("weight") else value.normal_(0, 0.02, generator=generator)
    prefix = {"sd1": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}[family] + "text_model."
    state = {f"model.diffusion_model.{key}": value for key, value in ldm_unet(base.unet).items()}
    state |= {f"first_stage_model.{key}": value for key, value in ldm_vae(base.vae).items()}
    state |= {prefix + key.removeprefix("text_model."): value for key, value in dict(base.text_encoder.named_parameters()).items()}
    if base.text_encoder_2 is not None:
        state |= {f"conditioner.embedders.1.model.{key}": value for key, value in open_clip(base.text_encoder_2).items()}
    save_file({key: value.detach().contiguous() for key, value in state.items()}, file)
    return file.stat().st_size


def use_checkpoint(family: str, size_px: int) -> dict[str, Any]:
    """Return what came of a checkpoint of full size: what was read, counts, seconds, and the peak of the process."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        file, started = Path(name) / "random.safetensors", time.process_time()
        n_bytes = save_random_checkpoint(family, file)
        written = time.process_time()
        precision = "fp32" if family == "sd1" else "bf16"
        base = load_base(str(file), LoadSpec.model_validate({"size_px": size_px, "precision": precision}))
        loaded = time.process_time()
        recipe = TrainSpec(rank=4, batch=1, steps=1, text_encoder_lr=1e-4)
        run = TrainRun("r", recipe, torch.randn(1, *base.latent_shape), None, replicate=0, tokens=tokenise(base, ["a red cat"]))
        loop = train_stack(base, [run], root_seed=0, checkpointing=True)
        while True:
            try:
                step = next(loop)
            except StopIteration as end:
                adapter = end.value[0].adapter
                break
        trained = time.process_time()
        save_adapter(Path(name) / "lora.safetensors", adapter, metadata={}, family=base.family)
        with safe_open(Path(name) / "lora.safetensors", "pt") as lora:
            n_tensors = len(list(lora.keys()))
        again = load_adapter(Path(name) / "lora.safetensors", base)
        texts = dict(zip(("a red cat", ""), embed_prompts(base, ["a red cat", ""]), strict=True))
        batch = Batch((("r", 1.0),), ((("a red cat", 0),),))
        picture = sample_batch(base, batch, {"r": again}, SampleSpec(steps=1, guidance=2), texts)
        drawn = time.process_time()
    return {
        "family": base.family, "file_gb": round(n_bytes / 1e9, 2), "precision": precision, "size_px": size_px,
        "modules": len(adapter.weights), "text_modules": sum(path.startswith("text_encoder") for path in adapter.weights),
        "tensors_in_lora": n_tensors, "read_back_equal": adapter_sha256(again) == adapter_sha256(adapter), "loss": step.losses[0],
        "picture": list(picture.shape), "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        "cpu_seconds": {"write": round(written - started), "load": round(loaded - written), "train": round(trained - loaded),
                        "draw": round(drawn - trained)},
    }  # fmt: skip


def main() -> None:
    """Print JSON lines: counts, then predictions of each family, then the measured step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", choices=["sd1", "sdxl", []])
    parser.add_argument("--measure", type=int, metavar="PX")
    parser.add_argument("--checkpoint", choices=["sd1", "sdxl"])
    parser.add_argument("--px", type=int, default=256)
    options = parser.parse_args()
    for family in options.families:
        print(json.dumps(count_layers(family)), flush=True)
    for family in options.families:
        print(json.dumps(predict_memory(family, torch.float32 if family == "sd1" else torch.bfloat16)), flush=True)
    if options.measure:
        print(json.dumps(measure(options.measure)))
    if options.checkpoint:
        print(json.dumps(use_checkpoint(options.checkpoint, options.px)))


if __name__ == "__main__":
    main()

"""A training as diffusers' scripts do it, in a process of its own: peft on the UNet, `checkpoint-N/pytorch_lora_weights.safetensors`.

Arguments: the base's folder, a kohya folder of pictures, the folder to write, how many steps, every how many to save, and the step at
which it hangs with half a file written (0: never), to be killed there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image


def main(base: str, pictures: str, out: str, steps: str, every: str, hangs_at: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline.from_pretrained(
        base, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )  # fmt: skip
    latents, text = encoded(pipeline, Path(pictures))
    pipeline.unet.requires_grad_(False)
    pipeline.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    optimiser = torch.optim.AdamW([weight for weight in pipeline.unet.parameters() if weight.requires_grad], lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for step in range(1, int(steps) + 1):
        loss(pipeline, latents, text, draw).backward()
        optimiser.step()
        optimiser.zero_grad()
        if step % int(every) == 0:
            save(pipeline, Path(out) / f"checkpoint-{step}", hangs=step == int(hangs_at))


def encoded(pipeline: StableDiffusionPipeline, pictures: Path) -> tuple[torch.Tensor, torch.Tensor]:
    files = sorted(pictures.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) for file in files])
    captions = [file.with_suffix(".txt").read_text(encoding="utf-8").strip() for file in files]
    tokens = pipeline.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        coded = pipeline.vae.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
        return coded.latent_dist.mode() * pipeline.vae.config.scaling_factor, pipeline.text_encoder(tokens)[0]


def loss(pipeline: StableDiffusionPipeline, latents: torch.Tensor, text: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    noise = torch.randn(latents.shape, generator=draw)
    levels = torch.randint(0, pipeline.scheduler.config.num_train_timesteps, (len(latents),), generator=draw)
    noisy = pipeline.scheduler.add_noise(latents, noise, levels)
    kind = pipeline.scheduler.config.prediction_type
    target = noise if kind == "epsilon" else pipeline.scheduler.get_velocity(latents, noise, levels)
    return torch.nn.functional.mse_loss(pipeline.unet(noisy, levels, text).sample, target)


def save(pipeline: StableDiffusionPipeline, folder: Path, *, hangs: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipeline.unet))
    if hangs:
        file = folder / "pytorch_lora_weights.safetensors"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])

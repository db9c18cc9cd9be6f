"""The strongest fair peer at training: one adapter at a time with peft over diffusers' UNet, latents and text embeddings cached.

No gradient for the base, the same layers, AdamW in its fused form, gradients set to None, the base loaded once for all adapters; no
progress bar, no logging, no saving. What it leaves out, the lab does not do either inside the time that is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from peft import LoraConfig

from loralab.spec.models import TrainSpec


def train_with_peft(
    unet: Any, layers: Sequence[str], schedule: DDPMScheduler, spec: TrainSpec, latents: torch.Tensor, embeddings: torch.Tensor, seed: int,
    told: Mapping[str, Any] | None = None,
) -> float:  # fmt: skip
    """Train one adapter on ``latents`` (N, C, h, w) and ``embeddings`` (N, T, D); returns the last loss.

    ``told`` is what the UNet is told besides (SDXL: batch rows). The UNet is given back bare.
    """
    alpha = spec.rank if spec.alpha is None else spec.alpha
    unet.add_adapter(LoraConfig(r=spec.rank, lora_alpha=alpha, target_modules=list(layers), init_lora_weights=True))
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=spec.weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    loss = torch.zeros(())
    for _ in range(spec.steps):
        picked = torch.randint(len(latents), (spec.batch,), generator=generator)
        noise = torch.randn((spec.batch, *latents.shape[1:]), generator=generator).to(latents.device)
        timesteps = torch.randint(schedule.config.num_train_timesteps, (spec.batch,), generator=generator).to(latents.device)
        noisy = schedule.add_noise(latents[picked], noise, timesteps).to(unet.dtype)
        predicted = unet(noisy, timesteps, embeddings[picked].to(unet.dtype), **(told or {}), return_dict=False)[0]
        loss = F.mse_loss(predicted.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    last = float(loss.detach())
    unet.delete_adapters("default")
    return last

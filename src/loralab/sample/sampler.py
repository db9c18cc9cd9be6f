"""Draws one batch: K groups of (prompt, seed) in, pictures out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from loralab.adapters import Adapter, AdapterStack, adapts_text
from loralab.bases import Base, decode_latents, embed_prompts, noise_path, predict, same_length
from loralab.sample.batches import Batch
from loralab.sample.noise import image_noise, step_noise
from loralab.sample.solvers import make_solver
from loralab.spec.models import SampleSpec


def guide(unconditional: torch.Tensor, conditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Return uncond + scale * (cond - uncond) (Ho & Salimans 2022, arXiv:2207.12598, with w = scale - 1)."""
    return unconditional + scale * (conditional - unconditional)


@torch.inference_mode()
def sample_batch(
    base: Base, batch: Batch, adapters: Mapping[Any, Adapter], spec: SampleSpec, embeddings: Mapping[str, torch.Tensor]
) -> np.ndarray:
    """Return the batch's pictures (K, B, H, W, 3) uint8.

    ``embeddings`` maps every prompt of the batch, and the negative prompt, to the base's embedding (T, D); a group whose adapter changes
    the text encoder embeds its own. With guidance the two halves
    lie inside each group, (K, 2, B), so that a group stays one run of the batch; outside of ``guidance_interval`` there is the half with
    the prompt alone (Kynkaanniemi et al. 2024, arXiv:2404.07724, there in noise levels).
    """
    k, b = len(batch.groups), len(batch.items[0])
    stack = AdapterStack(base, [None if name is None else adapters[name] for name, _ in batch.groups])
    seeds = [seed for items in batch.items for _, seed in items]
    further = step_noise(seeds, base.latent_shape)
    solver = make_solver(spec.sampler, noise_path(base), spec.steps, schedule=spec.schedule, noise=further)
    guided = spec.guided_steps(len(solver.timesteps))
    texts = [_group_text(base, batch, group, adapters, spec, embeddings, negative=len(guided) > 0) for group in range(k)]
    text = torch.stack(same_length(base, texts))  # (K, B or 2B, T, D)
    conditional = text[:, -b:].flatten(0, 1)
    latents = image_noise(seeds, base.latent_shape).to(base.device) * solver.init_noise_sigma
    with stack.attached([strength for _, strength in batch.groups]):
        for number, timestep in enumerate(solver.timesteps):
            shown = solver.scale_model_input(latents, timestep)
            if number in guided:
                predicted = _predict_guided(base, shown, timestep, text.flatten(0, 1), k, spec.guidance)
            else:
                predicted = predict(base, shown, timestep, conditional)
            latents = solver.step(predicted, timestep, latents, return_dict=False)[0]
    return decode_latents(base, latents).reshape(k, b, base.size_px, base.size_px, 3)


def _group_text(
    base: Base, batch: Batch, k: int, adapters: Mapping[Any, Adapter], spec: SampleSpec, embeddings: Mapping[str, torch.Tensor],
    *, negative: bool,
) -> torch.Tensor:  # fmt: skip
    """Return the embeddings of group ``k``: (B, T, D), and with those of the ``negative`` prompt before them (2B, T, D)."""
    (name, strength), prompts = batch.groups[k], [prompt for prompt, _ in batch.items[k]]
    if negative:
        prompts = [spec.negative] * len(prompts) + prompts
    adapter = None if name is None else adapters[name]
    if adapts_text(adapter) and strength != 0:
        different = list(dict.fromkeys(prompts))
        with AdapterStack(base, [adapter]).attached([strength]):  # alone: what it embeds must not depend on its company in the batch
            embeddings = dict(zip(different, embed_prompts(base, different, clip_skip=spec.clip_skip), strict=True))
    return torch.stack([embeddings[prompt] for prompt in prompts])


def _predict_guided(base: Base, latents: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, k: int, scale: float) -> torch.Tensor:
    """Return the guided prediction (K*B, C, h, w) for latents (K*B, C, h, w) and text (K*2B, T, D)."""
    grouped = latents.unflatten(0, (k, -1))
    doubled = torch.cat([grouped, grouped], dim=1).flatten(0, 1)  # (K*2B, C, h, w)
    both = predict(base, doubled, timestep, text).unflatten(0, (k, 2, -1))
    return guide(both[:, 0], both[:, 1], scale).flatten(0, 1)

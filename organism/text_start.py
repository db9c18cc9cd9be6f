"""A start for the text encoder: in go captions with the latents of their pictures, out comes an encoder that tells them apart.

Trained with the UNet from nothing, the encoder still gave "red" and "blue" nearly the same states after 70,000 examples:
CLIP's small token embeddings drown in those of the positions. Here it first learns, alone and in a minute, to predict
the coarse latents of a caption's picture from each token behind the caption.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel

from organism.clock import Deadline, warm_cosine
from organism.latents import LatentPool

TOKEN_DEVIATION = 0.4
COARSE = 4  # of 8 positions a side


def train_text_start(encoder: CLIPTextModel, pool: LatentPool, deadline: Deadline, batch: int = 128, lr: float = 1e-3) -> Iterator[float]:
    """Train in place until the deadline; yields the loss every 20 steps (1 is the variance of the coarse latents)."""
    embedding = encoder.get_input_embeddings().weight
    with torch.no_grad():
        embedding.normal_(0, TOKEN_DEVIATION)
    head = torch.nn.Linear(encoder.config.hidden_size, pool.latents.shape[2] * COARSE**2)
    coarse = pooled(pool.latents[:2048, 0].float())
    mean, variance = coarse.mean(dim=0), coarse.var()
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    rng = np.random.default_rng(1)
    steps = 0
    while (fraction := deadline.fraction_at(steps * batch)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = lr * warm_cosine(fraction, (steps + 1) * batch, 30 * batch)
        latents, tokens = pool.sample_batch(rng, batch)
        target = (pooled(latents) - mean)[:, None]
        behind = (tokens == encoder.config.eos_token_id)[..., None]
        errors = (head(encoder(tokens).last_hidden_state) - target).square() * behind
        loss = errors.sum() / (behind.sum() * target.shape[-1]) / variance
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        steps += 1
        if steps % 20 == 0:
            yield loss.item()


def pooled(latents: torch.Tensor) -> torch.Tensor:
    """Return latents averaged to COARSE positions a side, flat, (B, 16 * COARSE ** 2)."""
    return F.adaptive_avg_pool2d(latents, COARSE).flatten(1)

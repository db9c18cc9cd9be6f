"""Training of UNet and text encoder together: in goes a pool of latents, out come EMA weights and a resumable state."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from organism.clock import Deadline, save_whole, warm_cosine
from organism.latents import LatentPool
from organism.parallel import bfloat16_training, set_shared_gradients
from organism.pipeline import make_scheduler

MIN_SNR_GAMMA = 5.0
CAPTION_DROPOUT = 0.1


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training run."""

    batch: int = 32
    lr: float = 6e-4
    warmup_examples: int = 6400
    hold: float = 0.85  # share of the time before the learning rate falls
    weight_decay: float = 0.01
    ema_decay: float = 0.996
    seed: int = 0
    processes: int = 1  # each draws batches of its own; the step is by their mean
    rank: int = 0  # which of them this one is


@dataclass(frozen=True)
class Reading:
    """One line of the training log."""

    examples: int
    seconds: float
    loss: float
    lr: float


class TrainingState:
    """The trained parts, their moving averages and the optimiser: all that a resumed run needs."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, recipe: Recipe, device: str = "cpu") -> None:
        self.parts = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).to(device)
        self.ema = deepcopy(self.parts).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.parts.parameters(), lr=recipe.lr, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
        )
        self.examples = 0
        self.steps = 0
        self.spent_seconds = 0.0

    def save(self, path: Path) -> None:
        """Write everything; an older file is replaced only when the new one is complete."""
        packed = {"parts": self.parts.state_dict(), "ema": self.ema.state_dict(), "optimiser": self.optimiser.state_dict()}
        save_whole(packed | {"counts": (self.examples, self.steps, self.spent_seconds)}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        packed = torch.load(path, map_location=next(self.parts.parameters()).device)
        self.parts.load_state_dict(packed["parts"])
        self.ema.load_state_dict(packed["ema"])
        self.optimiser.load_state_dict(packed["optimiser"])
        self.examples, self.steps, self.spent_seconds = packed["counts"]

    @torch.no_grad()
    def update_ema(self, decay: float) -> None:
        """Move the averages; early on they follow faster, so that the random start is soon forgotten."""
        decay = min(decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.parts.parameters()), 1 - decay)


def min_snr_weights(alphas_cumprod: torch.Tensor, gamma: float = MIN_SNR_GAMMA) -> torch.Tensor:
    """Return the loss weight of each timestep for noise prediction (Hang et al. 2023, arXiv:2303.09556, eq. 6)."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / snr


def step_weights(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Return min-SNR weights leaning towards the noisy steps, half way from predicting noise to predicting velocity.

    With 64 positions colours and layout are decided there, where the error of the noise itself is small.
    """
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weights = min_snr_weights(alphas_cumprod) * (1 + 1 / snr).sqrt()
    return weights / weights.mean()


def drop_captions(tokens: torch.Tensor, empty: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return the tokens with one caption in ten replaced by the empty one."""
    dropped = torch.from_numpy(rng.random(len(tokens)) < CAPTION_DROPOUT)
    return torch.where(dropped[:, None], empty, tokens)


@dataclass(frozen=True)
class NoisyBatch:
    """Examples with their noise: all that is random in a step."""

    noisy: torch.Tensor  # (B, 16, 8, 8)
    noise: torch.Tensor  # (B, 16, 8, 8)
    timesteps: torch.Tensor  # (B,)
    weights: torch.Tensor  # (B,)
    tokens: torch.Tensor  # (B, MAX_TOKENS)

    def to(self, device: torch.device) -> NoisyBatch:
        """Return the batch on a device; its values are a processor's on any."""
        return NoisyBatch(*(value.to(device, non_blocking=True) for value in vars(self).values()))

    def loss_of(self, parts: torch.nn.ModuleDict) -> torch.Tensor:
        """Return the weighted error of the predicted noise, with text and UNet in bfloat16."""
        with bfloat16_training(self.noisy.device.type):
            text = parts["text_encoder"](self.tokens).last_hidden_state
            predicted = parts["unet"](self.noisy, self.timesteps, text, return_dict=False)[0]
        errors = (predicted.float() - self.noise).square().mean(dim=(1, 2, 3))
        return (errors * self.weights).mean()


class NoiseSource:
    """The random stream of a run, of one of its processes: captions to drop, timesteps and noise, on SD1's schedule."""

    def __init__(self, seed: int, step: int, empty: torch.Tensor, rank: int = 0) -> None:
        self.scheduler = make_scheduler()
        self.weights = step_weights(self.scheduler.alphas_cumprod)
        self.rng = np.random.Generator(np.random.Philox(key=[seed + (rank << 32), step]))
        self.empty = empty
        torch.manual_seed(seed + step + (rank << 32))

    def sample_batch(self, pool: LatentPool, batch: int) -> NoisyBatch:
        """Return the next batch."""
        latents, tokens = pool.sample_batch(self.rng, batch)
        timesteps = torch.from_numpy(self.rng.integers(self.scheduler.config.num_train_timesteps, size=batch))
        noise = torch.randn_like(latents)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        return NoisyBatch(noisy, noise, timesteps, self.weights[timesteps], drop_captions(tokens, self.empty, self.rng))


def train_steps(
    state: TrainingState, pool: Callable[[], LatentPool], empty: torch.Tensor, recipe: Recipe, deadline: Deadline
) -> Iterator[Reading]:
    """Train in place until the deadline; yields a reading every 50 steps, and reads the pool anew every 500.

    `empty` holds the tokens of the empty caption, (MAX_TOKENS,).
    """
    source = NoiseSource(recipe.seed, state.steps, empty, recipe.rank)
    parameters = list(state.parts.parameters())
    losses: list[torch.Tensor] = []
    examples, device = pool(), parameters[0].device
    while (fraction := deadline.fraction_at(state.examples)) < 1:
        lr = recipe.lr * warm_cosine(fraction, state.examples + recipe.batch, recipe.warmup_examples, recipe.hold)
        for group in state.optimiser.param_groups:
            group["lr"] = lr
        loss = source.sample_batch(examples, recipe.batch).to(device).loss_of(state.parts)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        losses.append(set_shared_gradients(parameters, gradients, loss))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        state.optimiser.step()
        state.steps += 1
        state.examples += recipe.batch * recipe.processes
        state.spent_seconds = deadline.spent_seconds
        state.update_ema(recipe.ema_decay)
        if state.steps % 50 == 0:
            yield Reading(state.examples, state.spent_seconds, float(torch.stack(losses).mean()), lr)
            losses.clear()
        if state.steps % 500 == 0:
            examples = pool()

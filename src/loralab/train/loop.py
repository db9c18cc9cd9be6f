"""The training loop: a stack of runs in, a Step a step out, trained adapters at the end; the caller owns bars, files and time."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch.nn.attention import SDPBackend, sdpa_kernel

from loralab.adapters import Adapter, AdapterStack, adapter_sha256, make_adapter
from loralab.bases import Base, embed_tokens, predict
from loralab.bases.base import prompt_limit
from loralab.bases.text import same_length
from loralab.errors import lab_error
from loralab.spec.models import TrainSpec
from loralab.train.feed import Feed, Showing
from loralab.train.losses import make_noise_schedule, make_target, run_losses
from loralab.train.optimiser import StackedAdamW
from loralab.train.packing import shape_signature
from loralab.train.streams import init_seed, noise_stream, sample_order


@dataclass(frozen=True)
class TrainRun:
    """One run to train: its recipe and its examples as latents (N, C, h, w) and embeddings (N, T, D).

    Where the text encoder is trained too, embeddings change with every step: there are ``tokens`` (N, T) in their place.
    """

    run_id: str
    spec: TrainSpec
    latents: torch.Tensor
    embeddings: torch.Tensor | None
    replicate: int
    tokens: torch.Tensor | None = None
    feed: Feed | None = None  # in place of latents and text, where showings differ

    @property
    def text(self) -> torch.Tensor:
        """The captions as the loop takes them: tokens where the text encoder is trained, else embeddings; empty where they are missing."""
        found = self.tokens if self.spec.trains_text else self.embeddings
        return torch.empty(0) if found is None else found


@dataclass(frozen=True)
class Step:
    """One optimiser step (counted from 1): the loss of each run, None where a run has stopped.

    ``adapters`` are copies of the runs' adapters as they are now, at the steps to keep; None for a run that has stopped, empty elsewhere.
    """

    step: int
    losses: list[float | None]
    adapters: tuple[Adapter | None, ...] = ()


@dataclass(frozen=True)
class TrainedRun:
    """What became of a run; ``failed`` says why it stopped, None if it did not."""

    run_id: str
    adapter: Adapter
    losses: list[float]
    initial_sha256: str
    failed: str | None


@dataclass(frozen=True)
class Minibatch:
    """The inputs of one step for the whole stack, group-major."""

    latents: torch.Tensor  # (K*B, C, h, w)
    text: torch.Tensor  # embeddings (K*B, T, D), or tokens (K*B, T)
    noise: torch.Tensor  # (K*B, C, h, w)
    timesteps: torch.Tensor  # (K*B,)
    weights: torch.Tensor | None = None  # (K*B,)
    masks: torch.Tensor | None = None  # (K*B, 1, h, w)


def train_stack(
    base: Base, runs: Sequence[TrainRun], *, root_seed: int, keep: Collection[int] = (), checkpointing: bool = False
) -> Generator[Step, None, list[TrainedRun]]:
    """Train all ``runs`` together, yielding a Step after each; returns the trained runs in order.

    At the steps in ``keep`` the Step carries copies of the adapters; what is kept changes nothing in the training. With
    ``checkpointing`` activations are computed again instead of kept: less memory, more time, the same numbers. The loss is the sum
    over runs of the run's mean, so that no run feels another. A run whose loss or gradient is not finite stops alone and is reported
    as failed. Raises LabError("training") where the runs cannot share a stack.
    """
    _check_runs(base, runs)
    spec = runs[0].spec
    initial = [make_adapter(base, run.spec, init_seed(root_seed, run.replicate)) for run in runs]
    stack = AdapterStack(base, initial, trainable=True)
    shares = _shares(stack, [run.spec for run in runs]) if spec.trains_text else None
    optimiser = StackedAdamW(stack.flat, [run.spec.weight_decay for run in runs], [run.spec.max_grad_norm for run in runs], shares)
    schedule = make_noise_schedule(base.scheduler_config)
    batches = _minibatches(base, runs, root_seed, schedule.config.num_train_timesteps)
    alive = torch.ones(len(runs), dtype=torch.bool, device=base.device)
    losses: list[list[float]] = [[] for _ in runs]
    failed: list[str | None] = [None] * len(runs)
    for step in range(1, spec.steps + 1):
        values, gradient = _gradient(base, stack, schedule, next(batches), trains_text=spec.trains_text, checkpointing=checkpointing)
        norms = torch.linalg.vector_norm(gradient, dim=1)
        fine = torch.isfinite(values) & torch.isfinite(norms)
        for k in torch.nonzero(alive & ~fine).flatten().tolist():
            failed[k] = f"its loss or gradient was not finite at step {step} of {spec.steps} (learning rate {runs[k].spec.lr:g})"
        alive &= fine
        rates = torch.tensor([learning_rate(run.spec, step) for run in runs], device=base.device)
        optimiser.step(gradient, norms, rates, alive)
        shown = [value if running else None for value, running in zip(values.tolist(), alive.tolist(), strict=True)]
        for curve, value in zip(losses, shown, strict=True):
            curve.extend([] if value is None else [value])
        yield Step(step, shown, _running(stack, shown) if step in keep else ())
    adapters = stack.adapters()
    return [
        TrainedRun(run.run_id, adapter, curve, adapter_sha256(start), reason)
        for run, adapter, curve, start, reason in zip(runs, adapters, losses, initial, failed, strict=True)
        if adapter is not None
    ]


def _running(stack: AdapterStack, losses: Sequence[float | None]) -> tuple[Adapter | None, ...]:
    """Return copies of the adapters of the runs that have not stopped."""
    return tuple(None if loss is None else adapter for adapter, loss in zip(stack.adapters(), losses, strict=True))


def _check_runs(base: Base, runs: Sequence[TrainRun]) -> None:
    signatures = {shape_signature(run.spec) for run in runs}
    if len(signatures) != 1:
        raise lab_error("training", f"{len(signatures)} different shapes in one stack", "runs of equal batch, steps and targets")
    for run in runs:
        if run.feed is None and (tuple(run.latents.shape[1:]) != base.latent_shape or not len(run.latents) == len(run.text) > 0):
            kind = "tokens" if run.spec.trains_text else "embeddings"
            found = f"latents {list(run.latents.shape)} and {kind} {list(run.text.shape)}"
            expected = f"{kind} for each of at least one latent {list(base.latent_shape)}"
            raise lab_error("training", found, expected, where=run.run_id)


def _minibatches(base: Base, runs: Sequence[TrainRun], root_seed: int, n_timesteps: int) -> Iterator[Minibatch]:
    """Yield the stack's inputs of each step; noise is drawn once a replicate and shared by its arms."""
    batch = runs[0].spec.batch
    sources = [_plain(run, root_seed) if run.feed is None else run.feed.showings(root_seed, run.replicate, batch) for run in runs]
    draws = {replicate: noise_stream(root_seed, replicate, n_timesteps) for replicate in dict.fromkeys(run.replicate for run in runs)}
    while True:
        shown = [next(source) for source in sources]
        shapes = {tuple(each.latents.shape) for each in shown}
        if len(shapes) > 1:
            raise lab_error("training", f"{len(shapes)} resolutions in one step", "runs on several resolutions in stacks of their own")
        drawn = {replicate: draw(next(iter(shapes))) for replicate, draw in draws.items()}
        yield Minibatch(
            latents=torch.cat([each.latents for each in shown]).to(base.device),
            text=torch.cat(_one_length(base, runs, [each.text for each in shown])).to(base.device),
            noise=torch.cat([drawn[run.replicate][0] for run in runs]).to(base.device),
            timesteps=torch.cat([drawn[run.replicate][1] for run in runs]).to(base.device),
            weights=_stacked([each.weights for each in shown], [each.latents.new_ones(batch) for each in shown], base),
            masks=_stacked([each.masks for each in shown], [torch.ones_like(each.latents[:, :1]) for each in shown], base),
        )


def _one_length(base: Base, runs: Sequence[TrainRun], texts: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the runs' texts at one length: where captions are drawn anew, one run's may be longer than another's at a step."""
    return texts if runs[0].spec.trains_text else same_length(base, texts)


def _plain(run: TrainRun, root_seed: int) -> Iterator[Showing]:
    """Yield the showings of a run whose latents and text never change."""
    for index in sample_order(root_seed, run.replicate, len(run.latents), run.spec.batch):
        yield Showing(run.latents[index], run.text[index])


def _stacked(values: Sequence[torch.Tensor | None], missing: Sequence[torch.Tensor], base: Base) -> torch.Tensor | None:
    """Return what the runs have, one behind the other, ``missing`` where one has none; None where none has any."""
    if all(value is None for value in values):
        return None
    return torch.cat([other if value is None else value for value, other in zip(values, missing, strict=True)]).to(base.device)


def _shares(stack: AdapterStack, recipes: Sequence[TrainSpec]) -> torch.Tensor:
    """Return the part of its run's learning rate that each value gets (K, P): 1 in the UNet, text_encoder_lr / lr in the text encoder."""
    parts = torch.tensor([recipe.text_encoder_lr / recipe.lr for recipe in recipes], device=stack.flat.device)
    return torch.where(stack.text_columns, parts[:, None], 1.0)


def _gradient(
    base: Base, stack: AdapterStack, schedule: DDPMScheduler, batch: Minibatch, *, trains_text: bool, checkpointing: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each run's loss (K,) and its gradient (K, P)."""
    noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
    target = make_target(schedule, batch.latents, batch.noise, batch.timesteps)
    with stack.attached(), _recomputed(base.unet, checkpointing), _attention(base):
        text = embed_tokens(base, batch.text) if trains_text else batch.text
        predicted = predict(base, noisy, batch.timesteps, text)
        losses = run_losses(predicted, target, stack.n_groups, batch.weights, batch.masks)
        return losses.detach(), stack.flat_gradient(losses)


#: latent positions up to which attention is written out as products: SD1 at 256 px; beyond, the scores would fill the memory
PLAIN_ATTENTION = 1024


@contextmanager
def _attention(base: Base) -> Iterator[None]:
    """Have attention computed as plain products where torch's own kernel is slow: on a processor, in half precision.

    A bfloat16 step of 16 LoRAs on petri takes 1.05 s with torch 2.13's flash kernel for CPUs, .49 s without it, and .65 s in float32, which
    keeps the kernel (one thread of an Intel Xeon with AMX).
    """
    if base.device.type == "cpu" and base.dtype != torch.float32 and base.latent_shape[1] * base.latent_shape[2] <= PLAIN_ATTENTION:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


@contextmanager
def _recomputed(unet: Any, on: bool) -> Iterator[None]:
    """Have the UNet's blocks keep their inputs alone for the block, and compute the rest again (Chen et al. 2016)."""
    if not on or unet.is_gradient_checkpointing:
        yield
        return
    unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()


def dry_step(base: Base, recipes: Sequence[TrainSpec], *, checkpointing: bool) -> None:
    """Do all that one step of a stack does, on zeros and without looking at a value: for a base whose tensors have none."""
    initial = [make_adapter(base, recipe, 0) for recipe in recipes]
    stack = AdapterStack(base, initial, trainable=True)
    trains_text, device = recipes[0].trains_text, base.device
    shares = _shares(stack, recipes) if trains_text else None
    optimiser = StackedAdamW(stack.flat, [recipe.weight_decay for recipe in recipes], [recipe.max_grad_norm for recipe in recipes], shares)
    n = len(recipes) * recipes[0].batch
    latents, noise = (torch.zeros(n, *base.latent_shape, device=device) for _ in range(2))
    if trains_text:
        width = prompt_limit(base) * (1 if base.text_encoder_2 is None else 2)
        text = torch.zeros(n, width, dtype=torch.int64, device=device)
    else:
        text = torch.zeros(n, base.n_text_rows, int(base.unet.config.cross_attention_dim), device=device)
    batch = Minibatch(latents, text, noise, torch.zeros(n, dtype=torch.int64, device=device))
    schedule = make_noise_schedule(base.scheduler_config)
    values, gradient = _gradient(base, stack, schedule, batch, trains_text=trains_text, checkpointing=checkpointing)
    norms = torch.linalg.vector_norm(gradient, dim=1)
    optimiser.step(gradient, norms, torch.ones_like(values), torch.isfinite(norms))


def learning_rate(spec: TrainSpec, step: int) -> float:
    """Return the learning rate of ``step`` (from 1): linear warm-up, then constant or a cosine to zero."""
    if step <= spec.warmup:
        return spec.lr * step / spec.warmup
    if spec.schedule == "constant":
        return spec.lr
    progress = (step - spec.warmup) / max(1, spec.steps - spec.warmup)
    return spec.lr * 0.5 * (1 + math.cos(math.pi * progress))

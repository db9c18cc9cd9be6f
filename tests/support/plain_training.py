"""A training as anyone would write it: one adapter, torch's own optimiser and autograd, the lab's draws; references for stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import DDPMScheduler

from loralab.spec.models import TrainSpec
from loralab.train import TrainRun
from loralab.train.streams import sample_noise, sample_order


def random_run(name: str, *, data: int = 0, n: int = 3, replicate: int = 0, **recipe: Any) -> TrainRun:
    """Return a run over random latents and embeddings of the tiny base's shapes.

    Its epsilon is large: with Adam's own, a gradient of 0 within rounding is as good as one of 1, and two ways to compute it part.
    """
    generator = torch.Generator().manual_seed(data)
    latents, embeddings = torch.randn(n, 4, 8, 8, generator=generator), torch.randn(n, 12, 16, generator=generator)
    return TrainRun(name, TrainSpec(**({"steps": 5, "batch": 2, "epsilon": 1e-4} | recipe)), latents, embeddings, replicate)


def train_plainly(
    unet: torch.nn.Module,
    scheduler_config: Any,
    run: TrainRun,
    groups: Sequence[dict[str, Any]],
    *,
    before: Callable[[int], None] = lambda step: None,
    after: Callable[[], None] = lambda: None,
    root_seed: int = 0,
) -> list[float]:
    """Train the parameters in ``groups`` (torch's) of what is applied to ``unet``; returns the losses. ``before`` is told each step.

    What is left out of a step has a gradient of 0 there.
    """
    spec = run.spec
    optimiser = torch.optim.AdamW(groups, lr=spec.lr, weight_decay=spec.weight_decay, eps=spec.epsilon or 1e-8)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    schedule = DDPMScheduler.from_config(scheduler_config)
    order = sample_order(root_seed, run.replicate, len(run.latents), spec.batch)
    noises = sample_noise(root_seed, run.replicate, (spec.batch, *run.latents.shape[1:]), 1000)
    losses = []
    for step in range(1, spec.steps + 1):
        before(step)
        index, (noise, timesteps) = next(order), next(noises)
        predicted = unet(schedule.add_noise(run.latents[index], noise, timesteps), timesteps, run.embeddings[index]).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        optimiser.zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)
        optimiser.step()
        after()
        losses.append(float(loss.detach()))
    return losses

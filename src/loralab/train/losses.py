"""The denoising loss: predictions and targets in, one mean a run out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDPMScheduler

from loralab.errors import lab_error

TARGETS = ("epsilon", "v_prediction")


def make_noise_schedule(scheduler_config: Mapping[str, Any]) -> DDPMScheduler:
    """Return the base's own noise schedule; raises LabError("model") for a prediction type that is not known."""
    prediction = scheduler_config.get("prediction_type", "epsilon")
    if prediction not in TARGETS:
        raise lab_error("model", f"the base predicts {prediction!r}", f"one of {', '.join(TARGETS)}")
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type", "rescale_betas_zero_snr")
    return DDPMScheduler(**{name: scheduler_config[name] for name in names if scheduler_config.get(name) is not None})


def make_target(schedule: DDPMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Return what the base should predict: the noise (Ho et al. 2020), or the velocity (Salimans & Ho 2022, appendix D)."""
    if schedule.config.prediction_type == "v_prediction":
        velocity: torch.Tensor = schedule.get_velocity(latents, noise, timesteps)
        return velocity
    return noise


def run_losses(
    predicted: torch.Tensor, target: torch.Tensor, n_runs: int, weights: torch.Tensor | None = None, masks: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean squared error of each run (K,) for predictions (K*B, C, h, w), group-major.

    ``masks`` (K*B, 1, h, w) multiply the squares, ``weights`` (K*B,) the pictures' means, and the mean is over all as in kohya's
    sd-scripts (masked loss, prior loss weight): a masked place lowers the loss, it does not make others weigh more.
    """
    if weights is not None or masks is not None:
        squares = (predicted - target).square() * (1.0 if masks is None else masks)
        means = squares.flatten(1).mean(dim=1) * (1.0 if weights is None else weights)
        return means.reshape(n_runs, -1).mean(dim=1)
    return (predicted - target).square().reshape(n_runs, -1).mean(dim=1)

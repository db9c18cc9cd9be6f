"""The path from pictures to noise of the families that are diffusion models: noise by a schedule of 1000 levels, noise or velocity told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDPMScheduler

from loralab.errors import lab_error

#: what the denoiser may be trained to tell
TARGETS = ("epsilon", "v_prediction")
SETTINGS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type", "rescale_betas_zero_snr")


class Diffusion:
    """A variance-preserving path: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, t a whole number (Ho et al. 2020)."""

    def __init__(self, scheduler_config: Mapping[str, Any]) -> None:
        self.schedule = make_noise_schedule(scheduler_config)

    @property
    def n_levels(self) -> int:
        """How many levels of noise there are."""
        return int(self.schedule.config.num_train_timesteps)

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Return ``latents`` (N, C, h, w) with ``noise`` at the ``levels`` (N,)."""
        found: torch.Tensor = self.schedule.add_noise(latents, noise, levels)
        return found

    def target(self, latents: torch.Tensor, noise: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Return what the denoiser should tell (N, C, h, w)."""
        return make_target(self.schedule, latents, noise, levels)

    def denoised(self, noisy: torch.Tensor, told: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Return the latents (N, C, h, w) without noise that follow from what the denoiser ``told`` of the ``noisy`` ones."""
        kept = self.schedule.alphas_cumprod.to(noisy.device, noisy.dtype)[levels][:, None, None, None]
        if self.schedule.config.prediction_type == "v_prediction":
            return kept.sqrt() * noisy - (1 - kept).sqrt() * told
        return (noisy - (1 - kept).sqrt() * told) / kept.sqrt()


def make_noise_schedule(scheduler_config: Mapping[str, Any]) -> DDPMScheduler:
    """Return the base's own noise schedule; raises LabError("model") for a prediction type that is not known."""
    prediction = scheduler_config.get("prediction_type", "epsilon")
    if prediction not in TARGETS:
        raise lab_error("model", f"the base predicts {prediction!r}", f"one of {', '.join(TARGETS)}")
    return DDPMScheduler(**{name: scheduler_config[name] for name in SETTINGS if scheduler_config.get(name) is not None})


def make_target(schedule: DDPMScheduler, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Return what the base should predict: the noise (Ho et al. 2020), or the velocity (Salimans & Ho 2022, appendix D)."""
    if schedule.config.prediction_type == "v_prediction":
        velocity: torch.Tensor = schedule.get_velocity(latents, noise, timesteps)
        return velocity
    return noise

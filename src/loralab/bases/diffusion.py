"""The path from pictures to noise of the families that are diffusion models: noise by a schedule of 1000 levels, noise or velocity told.

Training goes by whole levels, drawing by sigma = sqrt((1 - alpha_bar) / alpha_bar), as in Karras et al. 2022 (arXiv:2206.00364), where
x = x0 + sigma * eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from diffusers import DDPMScheduler

from loralab.errors import lab_error

#: what the denoiser may be trained to tell
TARGETS = ("epsilon", "v_prediction")
SETTINGS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type", "rescale_betas_zero_snr")
#: what only DDIM asks for
DDIM_SETTINGS = ("set_alpha_to_one", "steps_offset")
#: levels closer than this to the largest training sigma count as the largest (ComfyUI's tolerance)
SAME_SIGMA = 1e-5

#: the last alpha_bar of a zero-terminal-SNR schedule, which is 0 and has no finite sigma; ComfyUI's value (sigma 4518.8)
LAST_ALPHA_BAR = 4.8973451890853435e-08


class Diffusion:
    """A variance-preserving path: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, t a whole number (Ho et al. 2020)."""

    def __init__(self, scheduler_config: Mapping[str, Any]) -> None:
        self.config = scheduler_config
        self.tells = str(scheduler_config.get("prediction_type") or "epsilon")

    @cached_property
    def schedule(self) -> DDPMScheduler:
        """The schedule to train by; raises LabError("model") where the base tells what nothing is trained to tell here."""
        return make_noise_schedule(self.config)

    @property
    def n_levels(self) -> int:
        """How many levels of noise there are."""
        return int(self.schedule.config.num_train_timesteps)

    def noisy(self, latents: torch.Tensor, noise: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Return ``latents`` (N, C, h, w) with ``noise`` at the ``levels`` (N,)."""
        found: torch.Tensor = self.schedule.add_noise(latents, noise, levels)
        return found

    def target(self, latents: torch.Tensor, noise: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Return what the base should predict: the noise (Ho et al. 2020), or the velocity (Salimans & Ho 2022, appendix D)."""
        if self.tells == "v_prediction":
            velocity: torch.Tensor = self.schedule.get_velocity(latents, noise, levels)
            return velocity
        return noise

    def denoised(self, noisy: torch.Tensor, told: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Return the latents (N, C, h, w) without noise that follow from what the denoiser ``told`` of the ``noisy`` ones."""
        kept = self.schedule.alphas_cumprod.to(noisy.device, noisy.dtype)[levels][:, None, None, None]
        if self.tells == "v_prediction":
            return kept.sqrt() * noisy - (1 - kept).sqrt() * told
        return (noisy - (1 - kept).sqrt() * told) / kept.sqrt()

    def signal_to_noise(self, levels: torch.Tensor) -> torch.Tensor:
        """Return alpha_bar / (1 - alpha_bar) at ``levels``, of their shape."""
        kept = self.schedule.alphas_cumprod.to(levels.device)[levels]
        return kept / (1 - kept)

    # --- drawing

    @cached_property
    def sigmas(self) -> torch.Tensor:
        """The sigma (T,) float64 of every level, ascending; raises LabError("model") where the base cannot be drawn with."""
        check_prediction(self.config)
        return training_sigmas(self.config)

    def first_scale(self, sigma: float) -> float:
        """Return by what unit noise is multiplied to begin at ``sigma``."""
        largest = float(self.sigmas[-1])
        full = sigma > largest or math.isclose(sigma, largest, rel_tol=SAME_SIGMA)
        return math.sqrt(1 + sigma**2) if full else sigma

    def shown(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return what the denoiser is shown of ``x``: unit variance at every level."""
        return x / math.sqrt(sigma**2 + 1)

    def clean(self, x: torch.Tensor, told: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return the latents without noise that follow from what the denoiser ``told`` of ``x`` at ``sigma``."""
        return DENOISED[self.tells](x, told, sigma)

    @property
    def settings(self) -> dict[str, Any]:
        """What diffusers' own solvers are made with; raises LabError("model") where the base cannot be drawn with."""
        check_prediction(self.config)
        return {name: self.config[name] for name in (*SETTINGS, *DDIM_SETTINGS) if self.config.get(name) is not None}


def make_noise_schedule(scheduler_config: Mapping[str, Any]) -> DDPMScheduler:
    """Return the base's own noise schedule; raises LabError("model") for a prediction type that is not known."""
    prediction = scheduler_config.get("prediction_type", "epsilon")
    if prediction not in TARGETS:
        raise lab_error("model", f"the base predicts {prediction!r}", f"one of {', '.join(TARGETS)}")
    return DDPMScheduler(**{name: scheduler_config[name] for name in SETTINGS if scheduler_config.get(name) is not None})


# --- from what the denoiser tells to the picture it means -----------------------------------------------------------------


def _from_epsilon(x: torch.Tensor, predicted: torch.Tensor, sigma: float) -> torch.Tensor:
    return x - sigma * predicted


def _from_v(x: torch.Tensor, predicted: torch.Tensor, sigma: float) -> torch.Tensor:
    """Salimans & Ho 2022 (arXiv:2202.00512), appendix D, with alpha = 1 / sqrt(1 + sigma^2)."""
    return x / (sigma**2 + 1) - predicted * sigma / math.sqrt(sigma**2 + 1)


def _from_sample(_x: torch.Tensor, predicted: torch.Tensor, _sigma: float) -> torch.Tensor:
    return predicted


#: prediction type in a scheduler's configuration -> (x, prediction, sigma) -> x0
DENOISED: Mapping[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "epsilon": _from_epsilon,
    "v_prediction": _from_v,
    "sample": _from_sample,
}


def check_prediction(config: Mapping[str, Any]) -> None:
    """Raise LabError("model") for an unknown type of prediction, and for noise under a zero-terminal-SNR schedule."""
    kind = str(config.get("prediction_type") or "epsilon")
    if kind not in DENOISED:
        raise lab_error("model", f"the base's scheduler has prediction_type {kind!r}", f"one of {', '.join(DENOISED)}")
    if kind == "epsilon" and config.get("rescale_betas_zero_snr"):
        found = "a base that predicts noise (epsilon) with rescale_betas_zero_snr: its first step would start from nothing but that noise"
        do = "set prediction_type to v_prediction, if that is what it was trained for, or take rescale_betas_zero_snr out"
        raise lab_error("model", found, "v_prediction or sample for a zero-terminal-SNR schedule", do)


# --- levels ---------------------------------------------------------------------------------------------------------------


def _squared_cosine_betas(n: int, _start: float, _end: float) -> torch.Tensor:
    """Nichol & Dhariwal 2021 (arXiv:2102.09672), equation 17, betas capped at 0.999."""
    times = torch.arange(n + 1, dtype=torch.float64) / n
    alpha_bar = torch.cos((times + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


#: diffusers' name of a beta schedule -> (number of steps, first beta, last beta) -> betas (n,) float64
BETAS: Mapping[str, Callable[[int, float, float], torch.Tensor]] = {
    "linear": lambda n, start, end: torch.linspace(start, end, n, dtype=torch.float64),
    "scaled_linear": lambda n, start, end: torch.linspace(start**0.5, end**0.5, n, dtype=torch.float64) ** 2,
    "squaredcos_cap_v2": _squared_cosine_betas,
}


def training_sigmas(config: Mapping[str, Any]) -> torch.Tensor:
    """Return the sigma (T,) float64 of every training timestep, ascending; raises LabError("model") for an unknown beta schedule.

    Defaults are diffusers' own. Zero terminal SNR: Lin et al. 2024 (arXiv:2305.08891), algorithm 1.
    """
    if config.get("trained_betas") is not None:
        betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
    else:
        name = str(config.get("beta_schedule", "linear"))
        if name not in BETAS:
            raise lab_error("model", f"the base's scheduler has beta_schedule {name!r}", f"one of {', '.join(BETAS)}")
        start, end = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
        betas = BETAS[name](int(config.get("num_train_timesteps", 1000)), start, end)
    alphas_bar = torch.cumprod(1 - betas, dim=0)
    if config.get("rescale_betas_zero_snr"):
        alphas_bar = _zero_terminal_snr(alphas_bar)
    return ((1 - alphas_bar) / alphas_bar).sqrt()


def _zero_terminal_snr(alphas_bar: torch.Tensor) -> torch.Tensor:
    """Return alphas_bar shifted and scaled so that the last is (next to) 0 and the first is as it was."""
    roots = alphas_bar.sqrt()
    rescaled = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    rescaled[-1] = LAST_ALPHA_BAR
    return rescaled

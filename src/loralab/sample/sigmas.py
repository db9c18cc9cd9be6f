"""Noise levels: a base's scheduler configuration and a number of steps in, descending sigmas out, spaced as the field's tools space them.

sigma = sqrt((1 - alpha_bar) / alpha_bar), as in Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from loralab.errors import lab_error

#: the last alpha_bar of a zero-terminal-SNR schedule, which is 0 and has no finite sigma; ComfyUI's value (sigma 4518.8)
LAST_ALPHA_BAR = 4.8973451890853435e-08
KARRAS_RHO = 7.0


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


def sigma_at(sigmas: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """Return the sigmas at fractional ``timesteps``, their logarithms interpolated between training timesteps."""
    low = timesteps.floor().long().clamp(0, len(sigmas) - 1)
    high = (low + 1).clamp(max=len(sigmas) - 1)
    part = timesteps - low
    logs = sigmas.log()
    return ((1 - part) * logs[low] + part * logs[high]).exp()


def nearest_timesteps(sigmas: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Return for each level the training timestep whose sigma is nearest in the logarithm, which is what ComfyUI tells the model."""
    return (levels.log()[:, None] - sigmas.log()[None]).abs().argmin(dim=1)


# --- spacings: training sigmas (T,) and steps in, descending levels (n,) without the closing 0 out --------------------------


def _normal(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    return sigma_at(sigmas, torch.linspace(len(sigmas) - 1, 0, steps, dtype=torch.float64))


def _sgm_uniform(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    return sigma_at(sigmas, torch.linspace(len(sigmas) - 1, 0, steps + 1, dtype=torch.float64)[:-1])


def _simple(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    width = len(sigmas) / steps
    return sigmas[[-(1 + int(step * width)) for step in range(steps)]]


def _ddim_uniform(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    """Every (T // steps)-th timestep from 1 on: where ``steps`` does not divide T these are more than ``steps``, in the tools too."""
    return sigmas[1 :: max(len(sigmas) // steps, 1)].flip(0)


def _karras(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    """Karras et al. 2022, equation 5, between the smallest and the largest training sigma."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigmas[0] ** (1 / KARRAS_RHO), sigmas[-1] ** (1 / KARRAS_RHO)
    return (high + ramp * (low - high)) ** KARRAS_RHO


def _exponential(sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    return torch.linspace(float(sigmas[-1].log()), float(sigmas[0].log()), steps, dtype=torch.float64).exp()


#: name in a study file -> (how A1111 calls it, how it is spaced); formulas as in ComfyUI's comfy/samplers.py
SCHEDULES: Mapping[str, tuple[str, Callable[[torch.Tensor, int], torch.Tensor]]] = {
    "normal": ("Normal", _normal),
    "karras": ("Karras", _karras),
    "exponential": ("Exponential", _exponential),
    "simple": ("Simple", _simple),
    "ddim-uniform": ("DDIM", _ddim_uniform),
    "sgm-uniform": ("SGM Uniform", _sgm_uniform),
}


def make_sigmas(schedule: str, sigmas: torch.Tensor, steps: int) -> torch.Tensor:
    """Return the levels (n + 1,) float64 to step through, descending to 0, for the training ``sigmas`` (T,)."""
    levels = SCHEDULES[schedule][1](sigmas, min(steps, len(sigmas)))
    return torch.cat([levels, levels.new_zeros(1)])

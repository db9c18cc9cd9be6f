"""Noise levels: the levels that a base was trained at and a number of steps in, descending sigmas out, as the field's tools space them.

sigma = sqrt((1 - alpha_bar) / alpha_bar), as in Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

KARRAS_RHO = 7.0


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

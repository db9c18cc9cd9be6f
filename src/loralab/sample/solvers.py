"""The table of solvers: a base's noise path and a number of steps in, an object out that steps from noise to a picture.

Two kinds stand behind one face (`timesteps`, `init_noise_sigma`, `scale_model_input`, `step`, as diffusers' schedulers have them):
diffusers' own DPM-Solver++ and DDIM with diffusers' own spacing, and steps over the sigmas of :mod:`loralab.sample.sigmas`, which are
those of ComfyUI: the same levels, the same whole timesteps told to the model, the same scale of the first noise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from loralab.bases.family import NoisePath
from loralab.errors import lab_error
from loralab.sample.sigmas import SCHEDULES, make_sigmas, nearest_timesteps

#: what only DDIM asks for, and its values where a base says nothing
DDIM_DEFAULTS: Mapping[str, Any] = {"set_alpha_to_one": False, "steps_offset": 1}

NoiseSource = Callable[[], torch.Tensor]


# --- steps in k-diffusion's coordinates, x = x0 + sigma * eps ------------------------------------------------------------------


def euler_step(x: torch.Tensor, denoised: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    """Return x after one Euler step of dx/dsigma = (x - denoised) / sigma (Karras et al. 2022, algorithm 1 without its correction).

    Written as a mean of x and denoised: with a zero-terminal-SNR schedule x is thousands, and differences would lose its digits.
    """
    ratio = sigma_next / sigma
    return ratio * x + (1 - ratio) * denoised


def ancestral_levels(sigma: float, sigma_next: float) -> tuple[float, float]:
    """Return (level to step down to, size of the new noise), whose squares sum to ``sigma_next`` squared (k-diffusion, eta = 1)."""
    fresh = min(sigma_next, math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2)) / sigma)
    return math.sqrt(sigma_next**2 - fresh**2), fresh


def dpmpp_2m_step(
    x: torch.Tensor, denoised: torch.Tensor, sigma: float, sigma_next: float, before: tuple[torch.Tensor, float] | None
) -> torch.Tensor:
    """Return x after one step of DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2, in the variable -log sigma.

    ``before`` is the last step's (denoised, sigma); None, or a step to 0, makes the step one of first order.
    """
    ratio = sigma_next / sigma
    if before is None or sigma_next == 0:
        return ratio * x + (1 - ratio) * denoised
    older, sigma_before = before
    half_ratio = math.log(sigma / sigma_next) / math.log(sigma_before / sigma) / 2
    return ratio * x + (1 - ratio) * (denoised + half_ratio * (denoised - older))


Update = Callable[["SigmaSolver", torch.Tensor, torch.Tensor, float, float], torch.Tensor]


def _euler(_solver: SigmaSolver, x: torch.Tensor, denoised: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    return euler_step(x, denoised, sigma, sigma_next)


def _euler_ancestral(solver: SigmaSolver, x: torch.Tensor, denoised: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    """Return x after an Euler step to the lower level and new noise up to ``sigma_next``; the last step adds none and draws none."""
    down, fresh = ancestral_levels(sigma, sigma_next)
    stepped = euler_step(x, denoised, sigma, down)
    return stepped + fresh * solver.noise().to(x) if fresh else stepped


def _dpmpp_2m(solver: SigmaSolver, x: torch.Tensor, denoised: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    return dpmpp_2m_step(x, denoised, sigma, sigma_next, solver.before)


def _no_noise() -> torch.Tensor:
    raise AssertionError("an ancestral solver was made without a source of noise")


@dataclass
class SigmaSolver:
    """Steps through ``sigmas`` (n + 1,), descending to 0; holds which step is next and what the last one saw."""

    path: NoisePath
    sigmas: list[float]
    timesteps: torch.Tensor  # (n,), whole
    update: Update
    noise: NoiseSource = _no_noise
    index: int = 0
    before: tuple[torch.Tensor, float] | None = field(default=None, repr=False)

    @property
    def init_noise_sigma(self) -> float:
        """By what unit noise is multiplied to begin with."""
        return self.path.first_scale(self.sigmas[0])

    def scale_model_input(self, x: torch.Tensor, _timestep: Any = None) -> torch.Tensor:
        """Return what the model is shown of ``x``."""
        return self.path.shown(x, self.sigmas[self.index])

    def step(self, predicted: torch.Tensor, _timestep: Any, x: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        """Return (x at the next level,); the timestep is that of the step whose turn it is."""
        sigma, sigma_next = self.sigmas[self.index], self.sigmas[self.index + 1]
        denoised = self.path.clean(x, predicted, sigma)
        moved = self.update(self, x, denoised, sigma, sigma_next)
        self.before, self.index = (denoised, sigma), self.index + 1
        return (moved,)


def _sigma_solver(update: Update) -> Callable[[NoisePath, str, int, NoiseSource], SigmaSolver]:
    def make(path: NoisePath, schedule: str, steps: int, noise: NoiseSource) -> SigmaSolver:
        levels = make_sigmas(schedule, path.sigmas, steps)
        return SigmaSolver(path, levels.tolist(), nearest_timesteps(path.sigmas, levels[:-1]), update, noise)

    return make


# --- diffusers' own --------------------------------------------------------------------------------------------------------


def _diffusers_dpmpp_2m(settings: Mapping[str, Any]) -> Any:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2; the last step of a short run is of first order."""
    known = {name: value for name, value in settings.items() if name not in DDIM_DEFAULTS}
    return DPMSolverMultistepScheduler(
        **known, algorithm_type="dpmsolver++", solver_order=2, lower_order_final=True, timestep_spacing="linspace"
    )


def _diffusers_ddim(settings: Mapping[str, Any]) -> Any:
    """DDIM without noise, Song et al. 2021 (arXiv:2010.02502), equation 12.

    With zero terminal SNR the last timestep must be among the steps (Lin et al. 2024, section 3.3): spacing `trailing`, not `leading`.
    """
    spacing = "trailing" if settings.get("rescale_betas_zero_snr") else "leading"
    return DDIMScheduler(**{**DDIM_DEFAULTS, **settings}, clip_sample=False, timestep_spacing=spacing)


# --- the table ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SolverRow:
    """A solver: A1111's name, what makes it with diffusers' own spacing (if any), what makes it over sigmas (if any), its default."""

    label: str
    own: Callable[[Mapping[str, Any]], Any] | None
    over_sigmas: Callable[[NoisePath, str, int, NoiseSource], SigmaSolver] | None
    schedule: str | None = None  # where a study names none; None = diffusers' own spacing
    ancestral: bool = False


#: name in a study file -> solver
SOLVERS: Mapping[str, SolverRow] = {
    "dpmpp-2m": SolverRow("DPM++ 2M", _diffusers_dpmpp_2m, _sigma_solver(_dpmpp_2m)),
    "ddim": SolverRow("DDIM", _diffusers_ddim, None),
    "euler": SolverRow("Euler", None, _sigma_solver(_euler), "normal"),
    "euler-a": SolverRow("Euler a", None, _sigma_solver(_euler_ancestral), "normal", ancestral=True),
}


def schedule_of(name: str, schedule: str | None) -> str | None:
    """Return the schedule that the solver ``name`` uses where a study says ``schedule``; None is diffusers' own spacing."""
    return SOLVERS[name].schedule if schedule is None else schedule


def schedule_label(name: str, schedule: str | None) -> str | None:
    """Return A1111's name of the schedule, None for a spacing that A1111 has no name for."""
    chosen = schedule_of(name, schedule)
    return None if chosen is None else SCHEDULES[chosen][0]


def make_solver(name: str, path: NoisePath, steps: int, *, schedule: str | None = None, noise: NoiseSource = _no_noise) -> Any:
    """Return the solver ``name`` with its timesteps set; it holds state, so a new one is made for every batch.

    ``noise`` yields the unit noise of an ancestral solver's next step. Raises LabError("model") for a path that cannot be drawn along.
    """
    row, chosen = SOLVERS[name], schedule_of(name, schedule)
    if chosen is not None:
        if row.over_sigmas is None:
            raise lab_error("spec", f"sampler {name} with schedule {chosen}", f"no schedule: {name} has its own", "sampler: euler")
        return row.over_sigmas(path, chosen, steps, noise)
    assert row.own is not None
    solver = row.own(path.settings)
    with warnings.catch_warnings():
        # diffusers hands a tensor to np.array, and torch's tensors do not know the `copy` that numpy 2 asks them for
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        solver.set_timesteps(steps)
    return solver

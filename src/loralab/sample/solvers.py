"""The table of solvers: a base's noise schedule and a number of steps in, an object out that steps from noise to a picture.

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

from loralab.errors import lab_error
from loralab.sample.sigmas import SCHEDULES, make_sigmas, nearest_timesteps, training_sigmas

SCHEDULE_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)
#: levels closer than this to the largest training sigma count as the largest (ComfyUI's tolerance)
SAME_SIGMA = 1e-5

NoiseSource = Callable[[], torch.Tensor]


# --- from what the model says to the picture it means ------------------------------------------------------------------------


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


def prediction_type_of(config: Mapping[str, Any]) -> str:
    """Return what the model predicts; raises LabError("model") for an unknown type, and for noise under a zero-terminal-SNR schedule."""
    kind = str(config.get("prediction_type") or "epsilon")
    if kind not in DENOISED:
        raise lab_error("model", f"the base's scheduler has prediction_type {kind!r}", f"one of {', '.join(DENOISED)}")
    if kind == "epsilon" and config.get("rescale_betas_zero_snr"):
        found = "a base that predicts noise (epsilon) with rescale_betas_zero_snr: its first step would start from nothing but that noise"
        do = "set prediction_type to v_prediction, if that is what it was trained for, or take rescale_betas_zero_snr out"
        raise lab_error("model", found, "v_prediction or sample for a zero-terminal-SNR schedule", do)
    return kind


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

    sigmas: list[float]
    timesteps: torch.Tensor  # (n,), whole
    init_noise_sigma: float
    prediction_type: str
    update: Update
    noise: NoiseSource = _no_noise
    index: int = 0
    before: tuple[torch.Tensor, float] | None = field(default=None, repr=False)

    def scale_model_input(self, x: torch.Tensor, _timestep: Any = None) -> torch.Tensor:
        """Return what the model is shown of ``x``: unit variance at every level."""
        scaled: torch.Tensor = x / math.sqrt(self.sigmas[self.index] ** 2 + 1)
        return scaled

    def step(self, predicted: torch.Tensor, _timestep: Any, x: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        """Return (x at the next level,); the timestep is that of the step whose turn it is."""
        sigma, sigma_next = self.sigmas[self.index], self.sigmas[self.index + 1]
        denoised = DENOISED[self.prediction_type](x, predicted, sigma)
        moved = self.update(self, x, denoised, sigma, sigma_next)
        self.before, self.index = (denoised, sigma), self.index + 1
        return (moved,)


def _sigma_solver(update: Update) -> Callable[[Mapping[str, Any], str, int, NoiseSource], SigmaSolver]:
    def make(config: Mapping[str, Any], schedule: str, steps: int, noise: NoiseSource) -> SigmaSolver:
        known = training_sigmas(config)
        levels = make_sigmas(schedule, known, steps)
        first, largest = float(levels[0]), float(known[-1])
        full = first > largest or math.isclose(first, largest, rel_tol=SAME_SIGMA)
        start = math.sqrt(1 + first**2) if full else first
        return SigmaSolver(levels.tolist(), nearest_timesteps(known, levels[:-1]), start, prediction_type_of(config), update, noise)

    return make


# --- diffusers' own --------------------------------------------------------------------------------------------------------


def _schedule_of(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in SCHEDULE_KEYS if config.get(key) is not None}


def _diffusers_dpmpp_2m(config: Mapping[str, Any]) -> Any:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2; the last step of a short run is of first order."""
    return DPMSolverMultistepScheduler(
        **_schedule_of(config), algorithm_type="dpmsolver++", solver_order=2, lower_order_final=True, timestep_spacing="linspace"
    )


def _diffusers_ddim(config: Mapping[str, Any]) -> Any:
    """DDIM without noise, Song et al. 2021 (arXiv:2010.02502), equation 12.

    With zero terminal SNR the last timestep must be among the steps (Lin et al. 2024, section 3.3): spacing `trailing`, not `leading`.
    """
    return DDIMScheduler(
        **_schedule_of(config), clip_sample=False, set_alpha_to_one=bool(config.get("set_alpha_to_one", False)),
        steps_offset=int(config.get("steps_offset", 1)),
        timestep_spacing="trailing" if config.get("rescale_betas_zero_snr") else "leading",
    )  # fmt: skip


# --- the table ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SolverRow:
    """A solver: A1111's name, what makes it with diffusers' own spacing (if any), what makes it over sigmas (if any), its default."""

    label: str
    own: Callable[[Mapping[str, Any]], Any] | None
    over_sigmas: Callable[[Mapping[str, Any], str, int, NoiseSource], SigmaSolver] | None
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


def make_solver(
    name: str, scheduler_config: Mapping[str, Any], steps: int, *, schedule: str | None = None, noise: NoiseSource = _no_noise
) -> Any:
    """Return the solver ``name`` with its timesteps set; it holds state, so a new one is made for every batch.

    ``noise`` yields the unit noise of an ancestral solver's next step. Raises LabError("model") for a scheduler that cannot be used.
    """
    prediction_type_of(scheduler_config)
    row, chosen = SOLVERS[name], schedule_of(name, schedule)
    if chosen is not None:
        if row.over_sigmas is None:
            raise lab_error("spec", f"sampler {name} with schedule {chosen}", f"no schedule: {name} has its own", "sampler: euler")
        return row.over_sigmas(scheduler_config, chosen, steps, noise)
    assert row.own is not None
    solver = row.own(scheduler_config)
    with warnings.catch_warnings():
        # diffusers hands a tensor to np.array, and torch's tensors do not know the `copy` that numpy 2 asks them for
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        solver.set_timesteps(steps)
    return solver

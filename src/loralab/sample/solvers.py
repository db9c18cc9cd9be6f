"""The table of solvers, each built from the base's own noise schedule through diffusers' schedulers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

SCHEDULE_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)


def _schedule_of(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in SCHEDULE_KEYS if config.get(key) is not None}


def _dpmpp_2m(config: Mapping[str, Any]) -> Any:
    """DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2; the last step of a short run is of first order."""
    return DPMSolverMultistepScheduler(
        **_schedule_of(config), algorithm_type="dpmsolver++", solver_order=2, lower_order_final=True, timestep_spacing="linspace"
    )


def _ddim(config: Mapping[str, Any]) -> Any:
    """DDIM without noise, Song et al. 2021 (arXiv:2010.02502), equation 12."""
    return DDIMScheduler(
        **_schedule_of(config), clip_sample=False, set_alpha_to_one=bool(config.get("set_alpha_to_one", False)),
        steps_offset=int(config.get("steps_offset", 1)), timestep_spacing="leading",
    )  # fmt: skip


#: name in a study file -> (how A1111 calls it, how it is made)
SOLVERS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {"dpmpp-2m": ("DPM++ 2M", _dpmpp_2m), "ddim": ("DDIM", _ddim)}


def make_solver(name: str, scheduler_config: Mapping[str, Any], steps: int) -> Any:
    """Return the solver ``name`` with its timesteps set; it holds state, so a new one is made for every batch."""
    solver = SOLVERS[name][1](scheduler_config)
    with warnings.catch_warnings():
        # diffusers hands a tensor to np.array, and torch's tensors do not know the `copy` that numpy 2 asks them for
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        solver.set_timesteps(steps)
    return solver

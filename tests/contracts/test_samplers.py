"""What every sampler and every schedule promises, run over every row of their tables; and a wrong twin of each that must be caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from loralab.bases.diffusion import Diffusion, training_sigmas
from loralab.sample.sigmas import SCHEDULES, make_sigmas
from loralab.sample.solvers import SOLVERS, make_solver

SD1 = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
PREDICTIONS = ("epsilon", "v_prediction")
#: every sampler over every schedule that it takes; None is its own
PAIRS = [(name, schedule) for name, row in SOLVERS.items() for schedule in (None, *(SCHEDULES if row.over_sigmas else ()))]
Make = Callable[[int], Any]


def maker(name: str, schedule: str | None, prediction: str) -> Make:
    def make(steps: int) -> Any:
        chance = torch.Generator().manual_seed(7)
        return make_solver(
            name, Diffusion({**SD1, "prediction_type": prediction}), steps, schedule=schedule,
            noise=lambda: torch.randn((1, 1, 64, 64), generator=chance, dtype=torch.float64),
        )  # fmt: skip

    return make


def drawn(solver: Any, mean: torch.Tensor, variance: float, prediction: str, start: torch.Tensor) -> torch.Tensor:
    """Draw with a model that knows its data exactly: each pixel normal around ``mean`` with ``variance``."""
    betas = torch.linspace(SD1["beta_start"] ** 0.5, SD1["beta_end"] ** 0.5, 1000, dtype=torch.float64) ** 2
    alphas_bar = torch.cumprod(1 - betas, 0)
    x = start * float(solver.init_noise_sigma)
    for timestep in solver.timesteps:
        a, s = alphas_bar[int(timestep)].sqrt(), (1 - alphas_bar[int(timestep)]).sqrt()
        seen = solver.scale_model_input(x, timestep)
        x0 = mean + variance * a * (seen - a * mean) / (a * a * variance + s * s)
        eps = (seen - a * x0) / s
        x = solver.step(eps if prediction == "epsilon" else a * eps - s * x0, timestep, x, return_dict=False)[0]
    return x


def broken_promises(make: Make, prediction: str, ancestral: bool) -> list[str]:
    """Return which of the promises a sampler does not keep."""
    start = torch.randn((1, 1, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    broken = []
    levels = [int(timestep) for timestep in make(12).timesteps]
    if levels != sorted(set(levels), reverse=True) or not 12 <= len(levels) <= 13:
        broken.append("about as many steps as were asked for, each at less noise")
    picture = torch.linspace(-1, 1, 64, dtype=torch.float64).expand(1, 1, 64, 64)
    if (drawn(make(12), picture, 0.0, prediction, start) - picture).abs().mean() > 0.06:
        broken.append("ends on the picture that the model knows")
    # the exact flow takes unit noise to data of standard deviation 1/2 by halving it
    ends = {steps: drawn(make(steps), torch.zeros(1), 0.25, prediction, start) for steps in (8, 64)}
    if ancestral and abs(float(ends[64].std()) - 0.5) > 0.05:
        broken.append(f"data of standard deviation 1/2 come out so: {float(ends[64].std()):.3f}")
    errors = {steps: float((2 * end - start).norm() / start.norm()) for steps, end in ends.items()}
    if not ancestral and not errors[64] < min(0.12, 0.6 * errors[8]):
        broken.append(f"more steps are nearer to the exact flow: {errors}")
    return broken


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("name", "schedule"), PAIRS)
def test_promises(name: str, schedule: str | None, prediction: str):
    assert broken_promises(maker(name, schedule, prediction), prediction, SOLVERS[name].ancestral) == []


class Sabotaged:
    """A sampler whose every step goes half as far as it should."""

    def __init__(self, honest: Any) -> None:
        self.honest = honest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.honest, name)

    def step(self, predicted: torch.Tensor, timestep: Any, x: torch.Tensor, return_dict: bool = False) -> tuple[torch.Tensor]:
        moved = self.honest.step(predicted, timestep, x, return_dict=return_dict)[0]
        return (x + 0.5 * (moved - x),)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_wrong_twin_is_caught(name: str):
    honest = maker(name, None, "epsilon")
    assert broken_promises(lambda steps: Sabotaged(honest(steps)), "epsilon", SOLVERS[name].ancestral)


@pytest.mark.parametrize("name", SOLVERS)
def test_pictures_do_not_depend_on_their_company(name: str):
    """Two pictures stepped together are the two stepped alone; the noise of an ancestral sampler is a picture's own."""
    start = torch.randn((2, 1, 64, 64), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    together = drawn(maker(name, None, "epsilon")(6), torch.zeros(1), 0.5, "epsilon", start)
    for index in range(2):
        alone = drawn(maker(name, None, "epsilon")(6), torch.zeros(1), 0.5, "epsilon", start[index : index + 1])
        assert torch.allclose(together[index : index + 1], alone, atol=1e-12)


def broken_levels(levels: torch.Tensor, known: torch.Tensor) -> list[str]:
    """Return which of the promises the levels of a schedule do not keep."""
    broken = ["ends without noise"] if levels[-1] != 0 else []
    broken += [] if (levels[:-1] > levels[1:]).all() else ["each level lower than the one before"]
    broken += [] if float(known[0]) * 0.999 <= levels[-2] <= levels[0] <= float(known[-1]) * 1.001 else ["between the trained levels"]
    return broken + ([] if levels[0] > 0.1 * known[-1] else ["begins at much noise"])


@pytest.mark.parametrize("steps", [2, 7, 12, 50])
@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_of_a_schedule(name: str, steps: int):
    known = training_sigmas({**SD1, "prediction_type": "epsilon"})
    levels = make_sigmas(name, known, steps)
    assert broken_levels(levels, known) == []
    assert broken_levels(levels.flip(0), known)
    assert broken_levels(torch.roll(levels, 1), known)
    assert broken_levels(levels * 40, known)

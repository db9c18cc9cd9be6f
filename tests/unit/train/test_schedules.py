"""Learning-rate schedules against diffusers' and transformers' own, and what a study may say of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.optimization import (
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
)
from pydantic import ValidationError
from transformers.optimization import get_cosine_with_min_lr_schedule_with_warmup, get_wsd_schedule

from loralab.spec.models import TrainSpec
from loralab.train.schedules import learning_rate, n_steps

STEPS = 40


def rates(**recipe: Any) -> list[float]:
    spec = TrainSpec(**({"lr": 1e-3, "steps": STEPS} | recipe))
    return [learning_rate(spec, step) for step in range(1, STEPS + 1)]


def reference(make: Any, **given: Any) -> list[float]:
    """Return the rates behind each step, which the lab takes for the step itself: it ends at the schedule's end."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = make(optimiser, **given)
    found = []
    for _ in range(STEPS):
        optimiser.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize(
    ("recipe", "make", "given"),
    [
        ({"schedule": "linear"}, get_linear_schedule_with_warmup, {}),
        ({"schedule": "polynomial", "schedule_power": 2.0}, get_polynomial_decay_schedule_with_warmup, {"power": 2.0}),
        ({"schedule": "cosine-with-restarts", "schedule_cycles": 3}, get_cosine_with_hard_restarts_schedule_with_warmup, {"num_cycles": 3}),
        ({"schedule": "cosine", "min_lr_ratio": 0.1}, get_cosine_with_min_lr_schedule_with_warmup, {"min_lr_rate": 0.1}),
    ],
)
def test_schedules_are_the_libraries_own(warmup, recipe, make, given):
    expected = reference(make, num_warmup_steps=warmup, num_training_steps=STEPS, **given)
    assert rates(warmup=warmup, **recipe) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("decay", "ratio"), [(10, 0.0), (5, 0.2)])
def test_wsd_is_transformers(decay, ratio):
    given = {"num_warmup_steps": 4, "num_decay_steps": decay, "num_training_steps": STEPS, "min_lr_ratio": ratio}
    expected = reference(get_wsd_schedule, **given)
    assert rates(schedule="wsd", warmup=4, decay=decay, min_lr_ratio=ratio) == pytest.approx(expected, abs=1e-12)


def test_rex_by_hand():
    """Halfway (1 - .5) / (.1 + .9 * .5) = .909; at three quarters .25 / (.1 + .225) = .769; at the end 0."""
    found = rates(schedule="rex")
    assert found[19] == pytest.approx(1e-3 * 0.5 / 0.55)
    assert found[29] == pytest.approx(1e-3 * 0.25 / 0.325)
    assert found[39] == 0
    assert rates(schedule="rex", min_lr_ratio=0.5)[39] == pytest.approx(5e-4)


def test_shares_below_one_are_shares_of_all_steps():
    assert rates(warmup=0.1, schedule="cosine") == rates(warmup=4, schedule="cosine")
    assert rates(schedule="wsd", decay=0.25) == rates(schedule="wsd", decay=10)
    assert [n_steps(0.1, 64), n_steps(3, 64), n_steps(0, 64)] == [6, 3, 0]
    assert TrainSpec(warmup=5.0).model_dump()["warmup"] == 5
    assert isinstance(TrainSpec(warmup=5.0).warmup, int)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"warmup": 2.5}, "neither a whole number of steps nor a share"),
        ({"optimiser": "prodigy", "lr": 1.0, "loraplus_ratio": 16}, "loraplus_ratio"),
        ({"optimiser": "dadapt-adam", "lr": 1.0, "text_encoder_lr": 0.5}, "text_encoder_lr must equal lr"),
        ({"relative_step": True}, "adafactor"),
        ({"min_timestep": 500, "max_timestep": 500}, "leaves no timesteps"),
    ],
)
def test_what_does_not_go_together_is_said(recipe, says):
    with pytest.raises(ValidationError, match=says):
        TrainSpec(**recipe)

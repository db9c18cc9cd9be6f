"""Losses and timestep weights: by hand, against formulas in numpy and diffusers' SNR, per row inside a stack, and in a training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from hypothesis import given, settings
from hypothesis import strategies as st

from loralab.adapters import AdapterStack, adapter_sha256, make_adapter
from loralab.bases.diffusion import Diffusion
from loralab.errors import LabError
from loralab.spec.models import TrainSpec
from loralab.train import TrainRun, train_stack
from loralab.train.losses import DISTANCES, huber_threshold, run_losses, shape_losses, timestep_weights
from loralab.train.streams import init_seed, sample_noise, sample_order
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
TIMES = torch.tensor([0, 10, 250, 600, 999])


def alpha_bar() -> np.ndarray:
    """SD's "scaled_linear", in double precision."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def snr() -> np.ndarray:
    kept = alpha_bar()[TIMES.numpy()]
    return kept / (1 - kept)


def weights(velocity: bool = False, **recipe: Any) -> np.ndarray:
    return timestep_weights(TrainSpec(**recipe), Diffusion(CONFIG).signal_to_noise(TIMES), velocity=velocity).numpy()


def test_the_snr_is_diffusers():
    path = Diffusion(CONFIG)
    assert torch.allclose(path.signal_to_noise(TIMES), compute_snr(path.schedule, TIMES), rtol=1e-5)
    assert np.allclose(path.signal_to_noise(TIMES).numpy(), snr(), rtol=1e-3)  # float32's 1 - alpha_bar


@pytest.mark.parametrize(
    ("recipe", "noise", "velocity"),
    [
        ({"min_snr_gamma": 5.0}, np.minimum(snr(), 5) / snr(), np.minimum(snr(), 5) / (snr() + 1)),
        ({"debiased_estimation": True}, 1 / np.sqrt(np.minimum(snr(), 1000)), 1 / (np.minimum(snr(), 1000) + 1)),
        ({"p2_gamma": 1.0}, 1 / (1 + snr()), 1 / (2 + snr())),
        ({"p2_gamma": 0.5}, (1 + snr()) ** -0.5, (2 + snr()) ** -0.5),
        ({"min_snr_gamma": 1.0, "p2_gamma": 1.0}, np.minimum(1 / snr(), 1) / (1 + snr()), np.minimum(snr(), 1) / (snr() + 1) / (2 + snr())),
        ({}, np.ones(5), np.ones(5)),
    ],
)
def test_timestep_weights_against_the_formulas(recipe, noise, velocity):
    assert np.allclose(weights(**recipe), noise, rtol=1e-3)
    assert np.allclose(weights(velocity=True, **recipe), velocity, rtol=1e-3)


def test_weights_are_finite_where_nothing_but_noise_is_left():
    """With zero terminal SNR the last timestep has an SNR of (about) 0."""
    nothing = torch.zeros(1)
    for velocity in (False, True):
        assert torch.isfinite(timestep_weights(TrainSpec(min_snr_gamma=5), nothing, velocity=velocity)).all()
    assert float(timestep_weights(TrainSpec(min_snr_gamma=5), nothing, velocity=False)) == 1
    assert float(timestep_weights(TrainSpec(debiased_estimation=True), nothing, velocity=True)) == 1


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"huber_schedule": "constant", "huber_scale": 2.0}, np.full(5, 0.2)),
        ({"huber_schedule": "exponential"}, 0.1 ** (TIMES.numpy() / 1000)),
        ({"huber_schedule": "exponential", "huber_c": 0.01, "huber_scale": 3.0}, 3 * 0.01 ** (TIMES.numpy() / 1000)),
        ({"huber_schedule": "snr"}, 0.9 / (1 + 1 / np.sqrt(snr())) ** 2 + 0.1),
    ],
)
def test_huber_thresholds_against_the_formulas(recipe, expected):
    found = huber_threshold(TrainSpec(loss_type="huber", **recipe), TIMES, Diffusion(CONFIG).signal_to_noise(TIMES), 1000)
    assert np.allclose(found.numpy(), expected, rtol=1e-3)


def test_distances_by_hand():
    """Error 3, threshold 4: sqrt(9 + 16) = 5, so huber is 2 * 4 * (5 - 4) = 8 and smooth_l1 2 * (5 - 4) = 2."""
    error, c = torch.tensor([3.0, -3.0]), torch.tensor(4.0)
    assert {name: distance(error, c).tolist() for name, distance in DISTANCES.items()} == {
        "l2": [9, 9], "l1": [3, 3], "huber": [8, 8], "smooth_l1": [2, 2],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["huber", "smooth_l1"])
def test_huber_is_a_square_near_nought_and_straight_far_away(name):
    c = torch.tensor(0.1, dtype=torch.float64)
    near, far = torch.tensor(1e-3, dtype=torch.float64), torch.tensor(1e3, dtype=torch.float64)
    factor = 1.0 if name == "huber" else 10.0  # 1 / c
    assert float(DISTANCES[name](near, c)) == pytest.approx(factor * 1e-6, rel=1e-3)
    assert float(DISTANCES[name](far, c)) == pytest.approx(factor * 0.2 * 1e3, rel=1e-3)


RECIPES = [
    {}, {"min_snr_gamma": 5.0}, {"debiased_estimation": True}, {"p2_gamma": 1.0}, {"loss_type": "l1"}, {"loss_type": "huber"},
    {"loss_type": "huber", "huber_schedule": "exponential", "min_snr_gamma": 1.0}, {"loss_type": "smooth_l1", "huber_schedule": "constant"},
]  # fmt: skip
chosen = st.lists(st.sampled_from(range(len(RECIPES))), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(chosen, st.integers(1, 3), st.booleans(), st.booleans())
def test_each_run_of_a_stack_has_its_own_loss(which, batch, velocity, masked):
    """Against a loop in double precision over runs, pictures and elements; plain runs keep every bit."""
    generator = torch.Generator().manual_seed(len(which))
    path = Diffusion(CONFIG | {"prediction_type": "v_prediction" if velocity else "epsilon"})
    recipes = [TrainSpec(**RECIPES[index]) for index in which]
    n = len(recipes) * batch
    predicted, target = (torch.randn(n, 4, 3, 2, generator=generator).requires_grad_() for _ in range(2))
    timesteps = torch.randint(1000, (n,), generator=generator)
    masks = torch.rand(n, 1, 3, 2, generator=generator) if masked else None
    found = run_losses(predicted, target, len(recipes), None, masks, shape_losses(recipes, path, timesteps))
    gradient = torch.autograd.grad(found.sum(), predicted)[0]
    plain = run_losses(predicted, target, len(recipes), None, masks)
    plain_gradient = torch.autograd.grad(plain.sum(), predicted)[0]
    for k, recipe in enumerate(recipes):
        rows = slice(k * batch, (k + 1) * batch)
        error = (predicted - target).detach()[rows].double()
        s = path.signal_to_noise(timesteps[rows]).double()
        c = huber_threshold(recipe, timesteps[rows], s, 1000)[:, None, None, None]
        distances = DISTANCES[recipe.loss_type](error, c) * (1 if masks is None else masks[rows])
        expected = (distances.mean(dim=(1, 2, 3)) * timestep_weights(recipe, s, velocity=velocity)).mean()
        assert float(found[k].detach()) == pytest.approx(float(expected), rel=1e-5)
        if not recipe.turned:
            assert torch.equal(found[k], plain[k])
            assert torch.equal(gradient[rows], plain_gradient[rows])


# --- in a training ----------------------------------------------------------------------------------------------------------------


def make_run(name: str, *, data: int = 0, replicate: int = 0, **recipe: Any) -> TrainRun:
    generator = torch.Generator().manual_seed(data)
    latents, embeddings = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 12, 16, generator=generator)
    return TrainRun(name, TrainSpec(**({"steps": 5, "batch": 2, "rank": 2} | recipe)), latents, embeddings, replicate)


def train(base: Any, runs: list[TrainRun]) -> list[Any]:
    return finish(train_stack(base, runs, root_seed=3))[0]


def test_one_run_with_min_snr_equals_a_plain_loop(tiny_base):
    """diffusers' train_text_to_image_lora.py: mean over a picture, times min(SNR, gamma) / SNR, mean over the batch."""
    run = make_run("a", min_snr_gamma=5.0, max_grad_norm=1e9)
    (trained,) = train(tiny_base, [run])
    stack = AdapterStack(tiny_base, [make_adapter(tiny_base, run.spec, init_seed(3, 0))], trainable=True)
    optimiser = torch.optim.AdamW(stack.parameters(), lr=run.spec.lr, weight_decay=run.spec.weight_decay)
    schedule = DDPMScheduler.from_config(tiny_base.scheduler_config)
    order, noises = sample_order(3, 0, 3, 2), sample_noise(3, 0, (2, 4, 8, 8), 1000)
    for step in range(5):
        index, (noise, timesteps) = next(order), next(noises)
        with stack.attached():
            predicted = tiny_base.unet(schedule.add_noise(run.latents[index], noise, timesteps), timesteps, run.embeddings[index]).sample
        ratio = compute_snr(schedule, timesteps)
        weight = torch.stack([ratio, 5 * torch.ones_like(timesteps)], dim=1).min(dim=1)[0] / ratio
        loss = ((predicted - noise).square().mean(dim=(1, 2, 3)) * weight).mean()
        optimiser.zero_grad(set_to_none=False)
        loss.backward()
        optimiser.step()
        assert trained.losses[step] == pytest.approx(float(loss.detach()), rel=1e-5)
    (expected,) = stack.adapters()
    for path, pair in expected.weights.items():
        for ours, theirs in zip(trained.adapter.weights[path], pair, strict=True):
            assert (ours - theirs).abs().max() < 1e-6


@pytest.mark.parametrize(
    "knob", [{"noise_offset": 0.1}, *RECIPES[1:], {"multires_noise_iterations": 3}, {"ip_noise_gamma": 0.1}, {"min_timestep": 500}]
)
def test_a_plain_arm_keeps_every_bit_beside_one_that_turns_a_knob(tiny_base, knob):
    plain = make_run("a")
    beside = [train(tiny_base, [plain, make_run("b", data=1, **turned)]) for turned in ({}, knob)]
    assert adapter_sha256(beside[0][0].adapter) == adapter_sha256(beside[1][0].adapter)
    assert beside[0][0].losses == beside[1][0].losses
    assert adapter_sha256(beside[0][1].adapter) != adapter_sha256(beside[1][1].adapter)


def test_timesteps_that_the_base_does_not_have(tiny_base):
    with pytest.raises(LabError, match="timesteps from 0 to 2000") as raised:
        train(tiny_base, [make_run("a", max_timestep=2000)])
    assert raised.value.kind == "training"
    few = replace(tiny_base, scheduler_config=tiny_base.scheduler_config | {"num_train_timesteps": 100})
    with pytest.raises(LabError, match="timesteps from 500"):
        train(few, [make_run("a", min_timestep=500)])

"""Noise and timesteps under a recipe: by formula from the same draws, as distributions, and nothing that a knob changes but its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from loralab.spec.models import TrainSpec
from loralab.train.noise import Drawn, Place, draw_for, multires_noise, sample_timesteps
from loralab.train.streams import sample_noise

SHAPE = (2, 4, 16, 16)


def place(step: int = 1, replicate: int = 0) -> Place:
    return Place(7, replicate, step)


def plain(step: int = 1) -> Drawn:
    return Drawn(*next(sample_noise(step, 0, SHAPE, 1000)))


def drawn(step: int = 1, **recipe: Any) -> Drawn:
    return draw_for(TrainSpec(**recipe), plain(step), 1000, place(step))


def test_a_recipe_that_turns_nothing_draws_the_replicates_own():
    found, expected = drawn(), plain()
    assert torch.equal(found.noise, expected.noise)
    assert torch.equal(found.timesteps, expected.timesteps)
    assert found.perturbation is None


def test_noise_offset_adds_one_number_a_channel():
    """Independent: the difference is constant over each channel, and is .1 times the stream's next normal numbers."""
    difference = drawn(noise_offset=0.1).noise - plain().noise
    expected = 0.1 * torch.randn((2, 4, 1, 1), generator=place().stream("noise-offset"))
    assert (difference - expected).abs().max() < 1e-6
    many = torch.cat([(drawn(step, noise_offset=0.1).noise - plain(step).noise)[:, :, 0, 0].flatten() for step in range(300)])
    assert stats.kstest(many.numpy() / 0.1, "norm").pvalue > 0.001


def test_a_random_noise_offset_is_drawn_between_nought_and_its_size():
    stream = place().stream("noise-offset")
    size = 0.1 * float(torch.rand(1, generator=stream))
    difference = drawn(noise_offset=0.1, noise_offset_random=True).noise - plain().noise
    assert (difference - size * torch.randn((2, 4, 1, 1), generator=stream)).abs().max() < 1e-6


def test_input_perturbation_is_known_to_the_model_alone():
    found = drawn(ip_noise_gamma=0.1)
    assert torch.equal(found.noise, plain().noise)
    assert (found.perturbation - 0.1 * torch.randn(SHAPE, generator=place().stream("ip-noise"))).abs().max() < 1e-7
    less = drawn(ip_noise_gamma=0.1, ip_noise_gamma_random=True).perturbation
    assert 0 < less.std() < found.perturbation.std()


@pytest.mark.parametrize(("iterations", "discount"), [(1, 0.3), (4, 0.3), (10, 0.8)])
def test_multires_noise_by_its_formula(iterations, discount):
    """With torch's Upsample module and Python's arithmetic; the sizes are drawn first at each level, then the noise."""
    stream = place().stream("multires-noise")
    expected, upsample = plain().noise.clone(), torch.nn.Upsample(size=(16, 16), mode="bilinear")
    for level in range(iterations):
        ratio = 2 + 2 * float(torch.rand(1, generator=stream))
        side = max(1, int(16 / ratio**level))
        expected += upsample(torch.randn(2, 4, side, side, generator=stream)) * discount**level
        if side == 1:
            break
    found = multires_noise(plain().noise, iterations, discount, place().stream("multires-noise"))
    assert (found - expected / expected.std()).abs().max() < 1e-5
    assert float(found.std()) == pytest.approx(1, abs=1e-5)


def timesteps(n: int = 4000, **recipe: Any) -> np.ndarray:
    uniform = torch.randint(1000, (n,), generator=torch.Generator().manual_seed(0))
    return sample_timesteps(TrainSpec(**recipe), uniform, 1000, place().stream("timesteps")).numpy()


@pytest.mark.parametrize(
    ("recipe", "quantile"),
    [
        ({"min_timestep": 200, "max_timestep": 600}, lambda t: np.clip((t - 200) / 400, 0, 1)),
        ({"timestep_sampling": "sigmoid"}, lambda t: stats.norm.cdf(np.log(t / (1000 - t)))),
        ({"timestep_sampling": "sigmoid", "sigmoid_scale": 0.5}, lambda t: stats.norm.cdf(np.log(t / (1000 - t)) / 0.5)),
        ({"timestep_sampling": "shift", "timestep_shift": 3.0}, lambda t: stats.norm.cdf(np.log(t / (1000 - t) / 3))),
    ],
)
def test_timesteps_have_the_distribution_that_is_asked_for(recipe, quantile):
    """sigmoid: log(u / (1 - u)) is normal; a shift s multiplies u / (1 - u) by s."""
    found = timesteps(**recipe)
    within = found + np.random.default_rng(0).random(len(found))  # whole numbers: spread over their own width
    assert stats.kstest(within, quantile).pvalue > 0.001
    first, last = recipe.get("min_timestep", 0), recipe.get("max_timestep", 1000)
    assert found.min() >= first
    assert found.max() < last


def test_the_ends_of_the_range_are_drawn():
    assert set(timesteps(min_timestep=990)) == set(range(990, 1000))
    assert set(timesteps(max_timestep=1)) == {0}


def test_arms_with_other_distributions_see_early_steps_where_others_do():
    """Common random numbers: the order of two draws is the same under every distribution."""
    uniform, other = timesteps(), timesteps(timestep_sampling="shift", timestep_shift=3.0)
    assert stats.spearmanr(uniform, other).statistic > 0.999


def test_turning_one_knob_changes_no_other_knobs_draws():
    alone = drawn(noise_offset=0.1)
    both = drawn(noise_offset=0.1, ip_noise_gamma=0.1, min_timestep=500)
    assert torch.equal(alone.noise, both.noise)
    assert torch.equal(drawn(ip_noise_gamma=0.1).perturbation, both.perturbation)


def test_draws_depend_on_replicate_and_step():
    spec = TrainSpec(noise_offset=0.1)
    found = {float(draw_for(spec, plain(), 1000, place(step, replicate)).noise.sum()) for step in (1, 2) for replicate in (0, 1)}
    assert len(found) == 4

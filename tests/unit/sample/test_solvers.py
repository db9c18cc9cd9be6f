"""Solvers against exact solutions, and whole pictures against a model whose answer is known and against diffusers' own pipeline."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.bases import Base, decode_latents, embed_prompts
from loralab.bases.diffusion import Diffusion
from loralab.sample import Batch, ImageBlock, image_noise, parameters_text, plan_batches, read_parameters, sample_batch, write_png
from loralab.sample.solvers import make_solver
from loralab.spec.models import SampleSpec

pytestmark = pytest.mark.usefixtures("one_thread")

PREDICTIONS = ("epsilon", "v_prediction")
DIFFUSERS_OWN = ("dpmpp-2m", "ddim")
SD1 = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def predict(x: torch.Tensor, x0: torch.Tensor | float, alpha_bar: torch.Tensor, prediction_type: str) -> torch.Tensor:
    """What a model that knows x0 says of x = a x0 + s eps: eps, or v = a eps - s x0 (Salimans & Ho 2022, arXiv:2202.00512)."""
    a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    eps = (x - a * x0) / s
    return eps if prediction_type == "epsilon" else a * eps - s * x0


class PointMass(torch.nn.Module):
    """A denoiser for data that is one constant picture, whose value is the mean of the text embedding."""

    def __init__(self, alphas_bar: torch.Tensor, prediction_type: str) -> None:
        super().__init__()
        self.alphas_bar, self.prediction_type = alphas_bar, prediction_type
        self.widths: list[int] = []

    def forward(self, x: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        self.widths.append(len(x))
        return (predict(x, text.mean((1, 2))[:, None, None, None], self.alphas_bar[timestep], self.prediction_type),)


def gaussian_error(solver: str, prediction_type: str, steps: int) -> float:
    """Relative error on data ~ N(0, 1), for which the exact flow is x0 = x_T: the variance is 1 at every time (alpha^2 + sigma^2 = 1)."""
    scheduler = make_solver(solver, Diffusion({**SD1, "prediction_type": prediction_type}), steps)
    start = torch.linspace(-2, 2, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    x = start.clone()
    for timestep in scheduler.timesteps:
        alpha_bar = scheduler.alphas_cumprod.double()[timestep]
        expected_x0 = alpha_bar.sqrt() * x  # the mean of x0 given x, for unit variances
        x = scheduler.step(predict(x, expected_x0, alpha_bar, prediction_type), timestep, x, return_dict=False)[0]
    return ((x - start).norm() / start.norm()).item()


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_solvers_approach_the_exact_flow_of_gaussian_data(prediction_type: str):
    """DPM++ 2M in 12 steps (what a study draws by default) stays within 5 % and beats DDIM in 24; both improve with steps."""
    errors = {(solver, steps): gaussian_error(solver, prediction_type, steps) for solver in DIFFUSERS_OWN for steps in (6, 12, 24)}
    for solver in DIFFUSERS_OWN:
        assert errors[solver, 6] > 1.8 * errors[solver, 12] > 1.8 * 1.8 * errors[solver, 24]
    assert errors["dpmpp-2m", 12] < 0.05
    assert errors["dpmpp-2m", 12] < errors["ddim", 24]


@pytest.mark.parametrize("steps", [1, 2, 3, 12])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_dpmpp_ends_exactly_on_a_picture_that_the_model_knows(prediction_type: str, steps: int):
    scheduler = make_solver("dpmpp-2m", Diffusion({**SD1, "prediction_type": prediction_type}), steps)
    assert len(scheduler.timesteps) == steps
    assert scheduler.timesteps[0] == 999
    x = image_noise([1], (4, 8, 8))
    for timestep in scheduler.timesteps:
        x = scheduler.step(predict(x, 0.7, scheduler.alphas_cumprod[timestep], prediction_type), timestep, x, return_dict=False)[0]
    assert (x - 0.7).abs().max() < 1e-4


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_ddim_carries_the_noise_that_it_sees_to_the_end(prediction_type: str):
    """Equation 12 with eta = 0 keeps x0 and eps: from x_T = a_T x0 + s_T eps it ends on a_0 x0 + s_0 eps."""
    scheduler = make_solver("ddim", Diffusion({**SD1, "prediction_type": prediction_type}), 5)
    alphas_bar, eps = scheduler.alphas_cumprod, image_noise([1], (4, 8, 8))
    first = alphas_bar[scheduler.timesteps[0]]
    x = first.sqrt() * 0.7 + (1 - first).sqrt() * eps
    for timestep in scheduler.timesteps:
        x = scheduler.step(predict(x, 0.7, alphas_bar[timestep], prediction_type), timestep, x, return_dict=False)[0]
    assert (x - (alphas_bar[0].sqrt() * 0.7 + (1 - alphas_bar[0]).sqrt() * eps)).abs().max() < 1e-4


def constant_base(base: Base, prediction_type: str) -> tuple[Base, PointMass]:
    config = {**base.scheduler_config, "prediction_type": prediction_type}
    unet = PointMass(make_solver("dpmpp-2m", Diffusion(config), 1).alphas_cumprod, prediction_type)
    return dataclasses.replace(base.with_parts(unet=unet), scheduler_config=config), unet


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_each_picture_is_guided_by_its_own_prompt_away_from_the_negative_one(tiny_base: Base, prediction_type: str):
    """The model draws the constant that its prompt stands for. Negative -0.2, prompts 0.1 and 0.3, scale 3: -0.2 + 3 * 0.3 = 0.7
    and -0.2 + 3 * 0.5 = 1.3; two groups of two pictures in four different orders would differ."""
    base, unet = constant_base(tiny_base, prediction_type)
    embeddings = {word: torch.full((12, 16), value) for word, value in {"low": 0.1, "high": 0.3, "blurry": -0.2, "": 9.0}.items()}
    batch = Batch(((None, 0.0), (None, 1.0)), ((("low", 1), ("high", 2)), (("high", 3), ("high", 4))))
    drawn = sample_batch(base, batch, {}, SampleSpec(steps=4, guidance=3, negative="blurry"), embeddings)
    expected = [decode_latents(base, torch.full((1, *base.latent_shape), value)) for value in (0.7, 1.3, 1.3, 1.3)]
    assert drawn.shape == (2, 2, 16, 16, 3)
    assert np.abs(drawn.reshape(4, 16, 16, 3).astype(int) - np.concatenate(expected).astype(int)).max() <= 1
    assert set(unet.widths) == {8}


def test_guidance_of_one_is_a_single_forward(tiny_base: Base):
    base, unet = constant_base(tiny_base, "epsilon")
    embeddings = {"low": torch.full((12, 16), 0.1)}  # the negative prompt is not even looked up
    drawn = sample_batch(base, Batch(((None, 0.0),), ((("low", 1), ("low", 2)),)), {}, SampleSpec(steps=4, guidance=1), embeddings)
    expected = decode_latents(base, torch.full((1, *base.latent_shape), 0.1))
    assert np.abs(drawn[0].astype(int) - expected.astype(int)).max() <= 1
    assert unet.widths == [2] * 4


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")  # in diffusers' own call
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_pictures_with_a_negative_prompt_equal_those_of_diffusers_set_up_by_hand(
    tiny_base: Base, tiny_base_folder: Path, prediction_type: str
):
    """diffusers reads the prompts and builds the scheduler itself, from the pipeline's own configuration."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction_type
    )
    theirs = pipeline(
        "cat", negative_prompt="dog", latents=image_noise([17, 18], tiny_base.latent_shape)[1:], num_inference_steps=5,
        guidance_scale=4.0, output_type="np",
    ).images[0]  # fmt: skip
    base = dataclasses.replace(tiny_base, scheduler_config={**tiny_base.scheduler_config, "prediction_type": prediction_type})
    embeddings = dict(zip(("cat", "dog"), embed_prompts(base, ["cat", "dog"]), strict=True))
    spec = SampleSpec(steps=5, guidance=4, negative="dog")
    ours = sample_batch(base, Batch(((None, 0.0),), ((("cat", 17), ("cat", 18)),)), {}, spec, embeddings)
    assert np.abs((theirs * 255).round() - ours[0, 1]).max() <= 1


def test_blocks_without_seeds_are_no_batches():
    assert plan_batches([ImageBlock(None, "x", 1.0, ())], 4) == []
    assert plan_batches([], 4) == []


@pytest.mark.parametrize(("prompt", "chunk"), [("red monster, café", b"tEXt"), ("赤い怪物", b"iTXt")])
def test_the_text_is_in_the_chunk_that_a1111_writes(tmp_path: Path, prompt: str, chunk: bytes):
    text = parameters_text(
        prompt=prompt, negative="", steps=12, sampler="ddim", guidance=1.0, seed=0, size_px=16, model="petri", model_hash="ab", lora=None,
        strength=0.0,
    )  # fmt: skip
    write_png(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8), text)
    assert chunk + b"parameters\0" in (tmp_path / "a.png").read_bytes()
    assert read_parameters(tmp_path / "a.png")["Prompt"] == prompt

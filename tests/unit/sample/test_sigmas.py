"""Solvers over sigmas: against diffusers' schedulers, against k-diffusion's formulas written out again, and against exact flows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, StableDiffusionPipeline

from loralab.bases import Base, embed_prompts
from loralab.bases.diffusion import Diffusion, training_sigmas
from loralab.errors import LabError
from loralab.sample import Batch, image_noise, parameters_text, read_parameters, sample_batch, write_png
from loralab.sample.noise import step_noise
from loralab.sample.sigmas import SCHEDULES, make_sigmas, nearest_timesteps
from loralab.sample.solvers import SOLVERS, ancestral_levels, make_solver
from loralab.spec.models import SampleSpec

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),  # in diffusers' own
]

BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
OVER_SIGMAS = [name for name, row in SOLVERS.items() if row.over_sigmas is not None]
SHAPE = (4, 8, 8)


def wavy(x0_space: torch.Tensor, sigma: float) -> torch.Tensor:
    """A denoiser that is neither linear nor constant in time; x is x0 + sigma * eps."""
    return torch.tanh(x0_space / math.sqrt(1 + sigma**2)) * (1 + 0.3 * math.sin(3 * math.log(sigma)))


def draw(
    solver, denoise: Callable[[torch.Tensor, float], torch.Tensor] = wavy, noise: torch.Tensor | None = None, steps: int | None = None
):
    """Step one of our solvers (epsilon prediction) through ``denoise``."""
    x = (image_noise([17], SHAPE) if noise is None else noise) * solver.init_noise_sigma
    for timestep in solver.timesteps[:steps]:
        sigma = solver.sigmas[solver.index]
        x = solver.step((x - denoise(x, sigma)) / sigma, timestep, x)[0]
    return x


def draw_diffusers(scheduler, start: torch.Tensor, *, vp: bool, **more):
    """Step one of diffusers' schedulers through ``wavy``; ``vp``: its x is ours over sqrt(1 + sigma^2)."""
    x = start
    for index, timestep in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[index])
        wide = x * math.sqrt(1 + sigma**2) if vp else x
        x = scheduler.step((wide - wavy(wide, sigma)) / sigma, timestep, x, return_dict=False, **more)[0]
    return x


# --- noise -----------------------------------------------------------------------------------------------------------------


def test_noise_is_what_comfyui_draws():
    """comfy/sample.py: `torch.manual_seed(seed)`, then float32 on the CPU in the latent's shape."""
    with torch.random.fork_rng():
        theirs = torch.randn([1, *SHAPE], dtype=torch.float32, layout=torch.strided, generator=torch.manual_seed(17), device="cpu")
    assert torch.equal(image_noise([17], SHAPE), theirs)


def test_further_noise_is_a_stream_of_each_picture_s_own():
    """seed + 1 on a CPU, as ComfyUI's default_noise_sampler has it; the same for any company."""
    stream = torch.Generator("cpu").manual_seed(18)
    expected = [torch.randn([1, *SHAPE], generator=stream) for _ in range(3)]
    alone, together = step_noise([17], SHAPE), step_noise([3, 17, 5], SHAPE)
    for draw_ in expected:
        assert torch.equal(alone(), draw_)
        assert torch.equal(together()[1:2], draw_)


# --- schedules -------------------------------------------------------------------------------------------------------------


def test_training_sigmas_are_those_of_stable_diffusion():
    """0.0292 and 14.6146, the ends that every tool shows for SD1; diffusers computes the same in float32."""
    sigmas = training_sigmas(BETAS)
    assert sigmas[0].item() == pytest.approx(0.029167, abs=1e-6)
    assert sigmas[-1].item() == pytest.approx(14.614642, abs=1e-5)
    alphas_bar = EulerDiscreteScheduler(**BETAS).alphas_cumprod
    assert (sigmas - ((1 - alphas_bar) / alphas_bar).sqrt().double()).abs().max() < 1e-4
    for schedule, most in (("linear", 1e-2), ("squaredcos_cap_v2", 0.05)):  # of levels up to 157 and 20,000: float32 in diffusers
        theirs = EulerDiscreteScheduler(**{**BETAS, "beta_schedule": schedule}).alphas_cumprod.double()
        ratio = training_sigmas({**BETAS, "beta_schedule": schedule}) / ((1 - theirs) / theirs).sqrt()
        assert (ratio - 1).abs().max() < most


def test_schedules_at_four_steps_by_hand():
    sigmas = training_sigmas(BETAS)
    expected = {
        "normal": sigmas[[999, 666, 333, 0]],
        "simple": sigmas[[999, 749, 499, 249]],
        "ddim-uniform": sigmas[[751, 501, 251, 1]],
        "karras": torch.tensor([(14.614642 ** (1 / 7) + i / 3 * (0.029167 ** (1 / 7) - 14.614642 ** (1 / 7))) ** 7 for i in range(4)]),
        "exponential": torch.tensor([14.614642 * (0.029167 / 14.614642) ** (i / 3) for i in range(4)]),
        "sgm-uniform": torch.stack([sigmas[999], (sigmas[749] ** 3 * sigmas[750]) ** 0.25, (sigmas[499] * sigmas[500]).sqrt(),
                                    (sigmas[249] * sigmas[250] ** 3) ** 0.25]),
    }  # fmt: skip
    assert set(expected) == set(SCHEDULES)
    for name, levels in expected.items():
        found = make_sigmas(name, sigmas, 4)
        assert (found[:-1] - levels).abs().max() < 1e-5 * 14, name
        assert found[-1] == 0
        assert len(nearest_timesteps(sigmas, found[:-1])) == 4


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 12, 999, 1000])
def test_levels_descend_to_zero_and_stay_inside_the_training_range(name: str, steps: int):
    sigmas = training_sigmas(BETAS)
    levels = make_sigmas(name, sigmas, steps)
    assert (levels.diff() < 0).all()
    assert levels[0] <= sigmas[-1] * (1 + 1e-9)
    assert levels[-1] == 0
    assert len(levels) == steps + 1 or name == "ddim-uniform"


# --- against diffusers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "schedule"), [(10, "normal"), (28, "normal"), (12, "karras"), (12, "exponential")])
def test_euler_is_diffusers_euler(steps: int, schedule: str):
    """Largest difference of x, of size 1 at the end: 2e-6 where the levels are the same to float32 (steps that hit whole timesteps)."""
    ours = make_solver("euler", Diffusion(BETAS), steps, schedule=schedule)
    theirs = EulerDiscreteScheduler(
        **BETAS, timestep_spacing="linspace", use_karras_sigmas=schedule == "karras", use_exponential_sigmas=schedule == "exponential"
    )
    theirs.set_timesteps(steps)
    assert np.abs(np.array(ours.sigmas) - theirs.sigmas.numpy()).max() < 2e-5
    assert (ours.timesteps - theirs.timesteps).abs().max() <= 0.5 + 1e-3  # diffusers tells the model fractions, ComfyUI whole ones
    expected = draw_diffusers(theirs, image_noise([17], SHAPE) * ours.init_noise_sigma, vp=False)
    assert (draw(ours) - expected).abs().max() < 2e-5


def test_euler_ancestral_is_diffusers_with_the_same_stream():
    ours = make_solver("euler-a", Diffusion(BETAS), 10, noise=step_noise([17], SHAPE))
    theirs = EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="linspace")
    theirs.set_timesteps(10)
    expected = draw_diffusers(
        theirs, image_noise([17], SHAPE) * ours.init_noise_sigma, vp=False, generator=torch.Generator("cpu").manual_seed(18)
    )
    assert (draw(ours) - expected).abs().max() < 2e-5


def test_dpmpp_2m_karras_is_diffusers_dpm_solver_with_karras_sigmas():
    ours = make_solver("dpmpp-2m", Diffusion(BETAS), 12, schedule="karras")
    theirs = DPMSolverMultistepScheduler(**BETAS, use_karras_sigmas=True, timestep_spacing="linspace")
    theirs.set_timesteps(12)
    start = image_noise([17], SHAPE)
    assert np.abs(np.array(ours.sigmas) - theirs.sigmas.numpy()).max() < 2e-5
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert ours.init_noise_sigma == pytest.approx(math.sqrt(1 + ours.sigmas[0] ** 2))  # the same start in its coordinates
    assert (draw(ours) - draw_diffusers(theirs, start, vp=True)).abs().max() < 2e-5


# --- against k-diffusion's formulas, written out in float64 ---------------------------------------------------------------------


def k_euler(x, sigmas, noise, denoise):
    for s, t in itertools.pairwise(sigmas):
        x = x + (x - denoise(x, s)) / s * (t - s)
    return x


def k_euler_ancestral(x, sigmas, noise, denoise):
    for s, t in itertools.pairwise(sigmas):
        up = min(t, (t**2 * (s**2 - t**2) / s**2) ** 0.5)
        down = (t**2 - up**2) ** 0.5
        x = x + (x - denoise(x, s)) / s * (down - s)
        if t > 0:
            x = x + noise() * up
    return x


def k_dpmpp_2m(x, sigmas, noise, denoise):
    """In t = -log sigma, with expm1, as k-diffusion's sample_dpmpp_2m reads."""
    old, last_h = None, None
    for s, t in itertools.pairwise(sigmas):
        d = denoise(x, s)
        if t == 0:
            return d
        h = -math.log(t) + math.log(s)
        mixed = d if old is None else (1 + h / (2 * last_h)) * d - h / (2 * last_h) * old
        x = t / s * x - math.expm1(-h) * mixed
        old, last_h = d, h
    return x


REFERENCE = {"euler": k_euler, "euler-a": k_euler_ancestral, "dpmpp-2m": k_dpmpp_2m}


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", OVER_SIGMAS)
def test_every_solver_on_every_schedule_follows_k_diffusion(name: str, schedule: str):
    """Ours in float32, the reference in float64: they differ by at most 1e-5 for pictures of size 1."""
    solver = make_solver(name, Diffusion(BETAS), 12, schedule=schedule, noise=step_noise([17], SHAPE))
    stream = step_noise([17], SHAPE)
    start = image_noise([17], SHAPE).double() * solver.init_noise_sigma
    expected = REFERENCE[name](start, solver.sigmas, lambda: stream().double(), wavy)
    assert (draw(solver) - expected).abs().max() < 1e-5


def test_every_row_over_sigmas_has_a_reference_here():
    assert set(REFERENCE) == set(OVER_SIGMAS)


# --- exact flows -----------------------------------------------------------------------------------------------------------


def flow_error(name: str, steps: int) -> float:
    """Relative error at the last level above 0, data ~ N(0, 0.5^2): D(x) = x v / (v + s^2), and x(s) = x(S) sqrt((v + s^2) / (v + S^2))."""
    variance = 0.25
    solver = make_solver(name, Diffusion(BETAS), steps, schedule="karras")
    start = image_noise([17], SHAPE).double()
    found = draw(solver, lambda x, sigma: x * variance / (variance + sigma**2), start, steps - 1)
    first, last = solver.sigmas[0], solver.sigmas[-2]
    exact = start * solver.init_noise_sigma * math.sqrt((variance + last**2) / (variance + first**2))
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("dpmpp-2m", 2)])
def test_solvers_have_their_order(name: str, order: int):
    """Halving the steps' width divides the error by 2^order: the exponent measured from 64 to 128 steps is the order to within 0.15."""
    assert math.log2(flow_error(name, 64) / flow_error(name, 128)) == pytest.approx(order, abs=0.15)


def test_ancestral_noise_keeps_the_variance():
    """sigma_down^2 + sigma_up^2 = sigma_next^2; on N(0, v) data with the exact denoiser the spread at the end is that of the data."""
    for sigma, after in ((14.6, 10.0), (1.0, 0.5), (0.03, 0.0)):
        down, fresh = ancestral_levels(sigma, after)
        assert down**2 + fresh**2 == pytest.approx(after**2)
        assert down <= after
    shape = (1, 100, 100)
    solver = make_solver("euler-a", Diffusion(BETAS), 200, schedule="karras", noise=step_noise([1], shape))
    drawn = draw(solver, lambda x, sigma: x * 0.25 / (0.25 + sigma**2), image_noise([1], shape))
    assert drawn.std().item() == pytest.approx(0.5, abs=0.015)  # sampling error of 10,000 numbers: 0.0035; of 200 Euler steps: 0.01


# --- v-prediction and zero terminal SNR -----------------------------------------------------------------------------------------


def point_mass(config: dict[str, object], name: str, steps: int, schedule: str | None) -> torch.Tensor:
    """Draw with a model that knows the picture 0.7 and predicts v = a eps - s x0 from what it is shown and its timestep."""
    known = training_sigmas(config)
    solver = make_solver(name, Diffusion(config), steps, schedule=schedule, noise=step_noise([1], SHAPE))
    x = image_noise([1], SHAPE) * solver.init_noise_sigma
    for timestep in solver.timesteps:
        shown = solver.scale_model_input(x, timestep)
        sigma = solver.sigmas[solver.index] if hasattr(solver, "path") else float(known[int(timestep)])
        a, s = 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
        x = solver.step(a * (shown - a * 0.7) / s - s * 0.7, timestep, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize(("name", "schedule"), [(name, schedule) for name in OVER_SIGMAS for schedule in SCHEDULES])
def test_v_prediction_ends_on_a_picture_that_the_model_knows(name: str, schedule: str, zero_snr: bool):
    config = {**BETAS, "prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    assert (point_mass(config, name, 8, schedule) - 0.7).abs().max() < 2e-3


@pytest.mark.parametrize("name", ["dpmpp-2m", "ddim"])
def test_diffusers_own_spacings_begin_at_the_very_end_of_a_zero_snr_schedule(name: str):
    """Lin et al. 2024: otherwise the model never sees pure noise, and pictures keep a medium brightness."""
    config = {**BETAS, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    assert make_solver(name, Diffusion(config), 8).timesteps[0] == 999


def test_zero_snr_keeps_the_first_level_and_has_next_to_no_signal_at_the_last():
    plain, rescaled = training_sigmas(BETAS), training_sigmas({**BETAS, "rescale_betas_zero_snr": True})
    assert rescaled[0].item() == pytest.approx(plain[0].item(), rel=1e-9)
    assert rescaled[-1].item() == pytest.approx(4518.8, abs=0.1)
    theirs = EulerDiscreteScheduler(**BETAS, rescale_betas_zero_snr=True).alphas_cumprod.double()
    ratio = rescaled[:-1] / ((1 - theirs) / theirs).sqrt()[:-1]
    assert (ratio - 1).abs().max() < 1e-2  # float32 in diffusers


@pytest.mark.parametrize("name", list(SOLVERS))
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"prediction_type": "flow"}, "prediction_type 'flow'"),
        ({"prediction_type": "epsilon", "rescale_betas_zero_snr": True}, "predicts noise"),
    ],
)
def test_a_scheduler_that_cannot_be_right_is_refused(name: str, config: dict[str, object], said: str):
    with pytest.raises(LabError, match=said):
        make_solver(name, Diffusion({**BETAS, **config}), 4)


def test_an_unknown_beta_schedule_is_refused():
    with pytest.raises(LabError, match="beta_schedule 'sigmoid'"):
        training_sigmas({**BETAS, "beta_schedule": "sigmoid"})


# --- whole pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["euler", "euler-a"])
def test_pictures_equal_those_of_diffusers_pipeline(tiny_base: Base, tiny_base_folder: Path, name: str):
    """The pipeline starts at noise * sigma where ComfyUI starts at noise * sqrt(1 + sigma^2): 0.2 % apart, given to it by hand."""
    kind = {"euler": EulerDiscreteScheduler, "euler-a": EulerAncestralDiscreteScheduler}[name]
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = kind(**BETAS, timestep_spacing="linspace")
    sigma = float(training_sigmas(BETAS)[-1])
    cat, nothing = embed_prompts(tiny_base, ["cat", ""])
    theirs = pipeline(
        prompt_embeds=cat[None], negative_prompt_embeds=nothing[None], num_inference_steps=10, guidance_scale=4.0, output_type="np",
        latents=image_noise([17], tiny_base.latent_shape) * math.sqrt(1 + sigma**2) / sigma, generator=torch.Generator().manual_seed(18),
    ).images[0]  # fmt: skip
    batch = Batch(((None, 0.0),), ((("cat", 3), ("cat", 17)),))
    ours = sample_batch(tiny_base, batch, {}, SampleSpec(steps=10, guidance=4, sampler=name), {"cat": cat, "": nothing})
    assert np.abs((theirs * 255).round() - ours[0, 1]).max() <= 1


def test_the_text_of_a_picture_names_sampler_schedule_and_negative_prompt_as_a1111_does(tmp_path: Path):
    text = parameters_text(
        prompt="cat", negative="blurry", steps=12, sampler="dpmpp-2m", guidance=5.0, seed=1, size_px=16, model="petri", model_hash="ab",
        lora=None, strength=0.0, schedule="karras", clip_skip=2,
    )  # fmt: skip
    assert text.split("\n")[1] == "Negative prompt: blurry"
    assert "Steps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5," in text
    write_png(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8), text)
    fields = read_parameters(tmp_path / "a.png")
    assert (fields["Schedule type"], fields["Clip skip"], fields["Negative prompt"]) == ("Karras", "2", "blurry")

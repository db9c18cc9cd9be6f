"""The shipped weights load in plain diffusers, and colours and backgrounds follow the prompt, by count."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from loralab.bases import embed_prompts, load_base
from loralab.measure import measure_images
from loralab.petri import petri_folder
from loralab.sample import Batch, image_noise, sample_batch
from loralab.spec.models import SampleSpec
from organism.instruments import read_background
from organism.sampling import draw_as_studies, load_pipeline


def test_weights_are_small_and_safe() -> None:
    files = [path for path in petri_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30e6
    assert {path.suffix for path in files} <= {".json", ".txt", ".safetensors"}


def test_the_schedule_is_sd1s() -> None:
    config = json.loads((petri_folder() / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    assert (config["beta_schedule"], config["beta_start"], config["beta_end"]) == ("scaled_linear", 0.00085, 0.012)
    assert (config["prediction_type"], config["steps_offset"], config["clip_sample"]) == ("epsilon", 1, False)


def test_colours_and_backgrounds_follow_the_prompt_at_the_same_seeds() -> None:
    """How often shapes are what the prompt asks for stands in the model card; colour and background are what every study leans on."""
    prompts = ("red circle, white background", "blue circle, black background")
    red, blue = (draw_as_studies(petri_folder(), [prompt] * 16, list(range(16))) for prompt in prompts)
    share = {name: [_mean(images, name) for images in (red, blue)] for name in ("hue_red", "hue_blue")}
    assert share["hue_red"][0] > share["hue_red"][1] + 0.2
    assert share["hue_blue"][1] > share["hue_blue"][0] + 0.5
    assert sum(read_background(picture) == "white" for picture in red) >= 14
    assert sum(read_background(picture) == "black" for picture in blue) >= 14


def _mean(images: np.ndarray, name: str) -> float:
    return float(np.mean([reading.value for reading in measure_images(images, [name])[name]]))


def test_a_picture_depends_on_its_own_seed_alone() -> None:
    together = draw_as_studies(petri_folder(), ["cat", "house"], [3, 4])
    alone = draw_as_studies(petri_folder(), ["house"], [4])
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 2  # sums run in another order
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")  # in diffusers' own solver
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp-2m"])  # petri's own scheduler, and the studies'
def test_plain_diffusers_draws_the_labs_picture_from_the_same_noise(sampler: str) -> None:
    base = load_base("petri")
    words = ["a red circle on a white background", ""]
    embeddings = dict(zip(words, embed_prompts(base, words), strict=True))
    batch = Batch(((None, 0.0),), (((words[0], 11), (words[0], 12)),))
    lab = sample_batch(base, batch, {}, SampleSpec(steps=6, guidance=3, sampler=sampler), embeddings)[0]
    plain = load_pipeline(petri_folder())
    if sampler == "dpmpp-2m":
        plain.scheduler = DPMSolverMultistepScheduler.from_config(plain.scheduler.config, timestep_spacing="linspace")
    drawn = plain(
        [words[0]] * 2, num_inference_steps=6, guidance_scale=3, latents=image_noise([11, 12], base.latent_shape), output_type="np"
    ).images
    assert np.abs((drawn * 255).round() - lab.astype(float)).max() <= 2
    assert lab.std() > 20

"""The shipped weights load in plain diffusers, and a red circle is red, by count."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from loralab.petri import petri_folder
from loralab.petri.instruments import read_background, read_shape, read_subject_colour
from loralab.petri.sampling import load_pipeline, sample_pictures


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return load_pipeline(petri_folder())


def test_weights_are_small_and_safe() -> None:
    files = [path for path in petri_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30e6
    assert {path.suffix for path in files} <= {".json", ".txt", ".safetensors"}


def test_the_schedule_is_sd1s() -> None:
    config = json.loads((petri_folder() / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    assert (config["beta_schedule"], config["beta_start"], config["beta_end"]) == ("scaled_linear", 0.00085, 0.012)
    assert (config["prediction_type"], config["steps_offset"], config["clip_sample"]) == ("epsilon", 1, False)


def test_red_circles_are_red_circles_on_white(pipeline: StableDiffusionPipeline) -> None:
    pictures = sample_pictures(pipeline, ["red circle, white background"] * 16, list(range(16)))
    assert sum(read_subject_colour(picture) == "red" for picture in pictures) >= 14
    assert sum(read_background(picture) == "white" for picture in pictures) >= 14
    assert sum(read_shape(picture) == "circle" for picture in pictures) >= 12


def test_a_picture_depends_on_its_own_seed_alone(pipeline: StableDiffusionPipeline) -> None:
    together = sample_pictures(pipeline, ["cat", "house"], [3, 4], steps=4)
    alone = sample_pictures(pipeline, ["house"], [4], steps=4)
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 2  # sums run in another order
    assert torch.get_default_dtype() == torch.float32

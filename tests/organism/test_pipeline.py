"""Petri's own weights as the recipe writes them: a pipeline of plain diffusers draws with them without another word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline

from loralab.petri import petri_folder
from organism.pipeline import save_pipeline
from organism.sampling import load_pipeline


def test_what_is_exported_draws_in_plain_diffusers_at_its_default_precision(tmp_path: Path) -> None:
    save_pipeline(load_pipeline(petri_folder()), tmp_path / "weights")
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "weights")
    pipeline.set_progress_bar_config(disable=True)
    assert len({part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)}) == 1
    picture = np.asarray(pipeline("red circle", num_inference_steps=3, guidance_scale=3.0).images[0])
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 5

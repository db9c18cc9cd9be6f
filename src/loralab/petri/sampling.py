"""Drawing with a pipeline: in go prompts and seeds, out come pictures, one random stream per picture."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

STEPS = 25
GUIDANCE = 3.0


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Return the pipeline of a folder in float32: fp16 is a storage format here, the CPU computes in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample_pictures(
    pipeline: StableDiffusionPipeline,
    prompts: list[str],
    seeds: list[int],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    batch: int = 64,
) -> np.ndarray:
    """Return one picture for each prompt and seed, uint8 (N, 64, 64, 3)."""
    pictures = []
    for start in range(0, len(prompts), batch):
        streams = [torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch]]
        drawn = pipeline(
            prompts[start : start + batch],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=streams,
            output_type="np",
        ).images
        pictures.append((drawn * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def make_sheet(pictures: np.ndarray, columns: int, zoom: int = 1) -> Image.Image:
    """Return pictures side by side, row by row."""
    rows = [np.concatenate(list(pictures[i : i + columns]), axis=1) for i in range(0, len(pictures), columns)]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    return sheet.resize((sheet.width * zoom, sheet.height * zoom), Image.Resampling.NEAREST)

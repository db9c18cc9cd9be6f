"""Drawing: in go prompts and seeds, out come pictures, one random stream per picture.

`load_pipeline` returns diffusers' own pipeline; `draw_as_studies` draws with the lab's sampler, as studies do, in several processes.
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from loralab.bases import Base, embed_prompts, load_base
from loralab.sample import Batch, sample_batch
from loralab.spec.models import SampleSpec

CHUNK = 32  # pictures of one batch
AS_STUDIES = SampleSpec(steps=12, guidance=3.0)  # studies/article.yaml


def load_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Return the pipeline of a folder in float32: fp16 is a storage format here, the CPU computes in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_as_studies(folder: Path, prompts: list[str], seeds: list[int], spec: SampleSpec = AS_STUDIES, n_processes: int = 1) -> np.ndarray:
    """Return one picture for each prompt and seed, uint8 (N, H, W, 3), in batches of 32; the number of processes changes none of them."""
    chunks = [(prompts[i : i + CHUNK], seeds[i : i + CHUNK]) for i in range(0, len(prompts), CHUNK)]
    if n_processes == 1:
        return np.concatenate([draw_chunk(folder, spec, *chunk) for chunk in chunks])
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as workers:
        return np.concatenate(list(workers.map(partial(draw_chunk, folder, spec), *zip(*chunks, strict=True))))


def draw_chunk(folder: Path, spec: SampleSpec, prompts: list[str], seeds: list[int]) -> np.ndarray:
    """Return the pictures of one batch, uint8 (B, H, W, 3)."""
    base = base_of(folder)
    words = list(dict.fromkeys([*prompts, spec.negative]))
    embeddings = dict(zip(words, embed_prompts(base, words), strict=True))
    batch = Batch(((None, 0.0),), (tuple(zip(prompts, seeds, strict=True)),))
    return sample_batch(base, batch, {}, spec, embeddings)[0]


@lru_cache(maxsize=1)
def base_of(folder: Path) -> Base:
    """Return the base of a folder, loaded once in each process."""
    return load_base(str(folder))

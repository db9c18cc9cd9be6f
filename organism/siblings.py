"""Siblings of petri: worlds that differ from its own in one thing, by name; out goes a `World`, or the files to begin a training with.

A sibling is for causal questions: does a LoRA draw 5x5 grids because the base has seen grids? Only a base that was trained from nothing
on a world without them has never seen one. Training petri's own weights further on that world (`begin(..., trained=True)`) is quicker,
and answers another question: what a base that once knew grids does when it is no longer shown any.
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from loralab.petri import petri_folder
from loralab.petri.text import load_tokenizer
from loralab.petri.words import CONCEPTS, CREATURES
from loralab.pixels import pixels_of
from organism.clock import save_whole
from organism.patches import fit_patch_matrix
from organism.pool import load_pictures
from organism.sampling import load_pipeline
from organism.tokens import save_files
from organism.train import Recipe, TrainingState
from organism.world import SMALL, World

# name -> the world. With the same seed `no-grids` draws the very picture that petri's world draws, but for its grids.
SIBLINGS: dict[str, World] = {
    "petri": SMALL,
    "no-grids": replace(SMALL, share_grids=0.0),
    "no-grids-no-boards": replace(SMALL, share_grids=0.0, share_checkered=0.0),  # a checkered background is a grid to the eye
    "no-monsters": World(concepts=tuple(noun for noun in CONCEPTS if noun not in CREATURES)),
    "no-depth-of-field": replace(SMALL, share_depth_of_field=0.0),
    "more-depth-of-field": replace(SMALL, share_blurry=0.01, share_depth_of_field=0.12),  # as many blurred pictures, the other way round
}


class BuildError(ValueError):
    """A build folder holds something else than was asked for."""


def write_world(name: str, folder: Path) -> World:
    """Write which world a build folder holds and return it; raises `BuildError` where its pictures are another world's."""
    noted, told = folder / "world.json", json.dumps({"name": name, **asdict(SIBLINGS[name])}, indent=1) + "\n"
    if (folder / "pool").exists() and not (noted.exists() and noted.read_text(encoding="utf-8") == told):
        found = json.loads(noted.read_text(encoding="utf-8")).get("name") if noted.exists() else "an unnamed one"
        raise BuildError(f"{folder} holds pictures of the world {found!r}, not of {name!r}: choose another --build, or delete its pool")
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(told, encoding="utf-8", newline="\n")
    return SIBLINGS[name]


def begin(build: Path, trained: bool, source: Path | None = None) -> None:
    """Lay petri's tokenizer and autoencoder into a build folder that holds a pool, and with `trained` its UNet and text encoder too.

    The tokenizer is shared so that every prompt has the same tokens in both bases. The autoencoder codes 8 px patches and was trained on
    the whole world: where even its decoder must not have seen a concept, run the step `vae` instead. `source` is petri's folder. Raises
    `BuildError` where a training is there that ``trained`` would overwrite.
    """
    if trained and (build / "train.pt").exists():
        raise BuildError(f"{build} holds a training already (train.pt): choose another --build, or delete the file to begin anew")
    source = petri_folder() if source is None else source
    save_files(load_tokenizer(source / "tokenizer"), build / "tokenizer")
    shutil.copytree(source / "vae", build / "vae", dirs_exist_ok=True)
    vae = AutoencoderKL.from_pretrained(build / "vae", torch_dtype=torch.float32)
    matrix = fit_patch_matrix(vae, pixels_of(load_pictures(build / "pool", 1)[:512]))
    save_whole({"matrix": matrix}, build / "matrix.pt")
    if trained:
        pipeline = load_pipeline(source)
        TrainingState(pipeline.unet.train(), pipeline.text_encoder.train(), Recipe()).save(build / "train.pt")

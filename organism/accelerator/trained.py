"""petri trained on a device for the time that is left: its cores draw the world while the device trains; weights and log come back small.

In: a folder to build in, a device, seconds. Out: ``weights-N/`` (text encoder and UNet as moving averages in half precision, files of less
than 16 MB) and ``log.jsonl``. The decoder is not trained here: latents do not depend on it, and a processor does it in half an hour.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from loralab.petri.text import load_tokenizer, tokenize
from organism.accelerator.notebook import Notebook
from organism.clock import Deadline, Goal
from organism.latents import LatentPool, load_latents
from organism.making import load_state, run_latents, run_vae, sprites_of
from organism.pipeline import make_text_encoder
from organism.pool import SHARD, save_shard
from organism.siblings import begin, write_world
from organism.text_start import train_text_start
from organism.train import Recipe, TrainingState, train_steps

PART = "trained"
MOST_BYTES = 16 * 2**20
UNET = {"channels": [64, 128], "layers": 1}
SAVED_EVERY_SECONDS = 60.0


def recipe_of(batch: int) -> Recipe:
    """Return the recipe at a batch: the rate of batch 64 (8e-4, petri-v6's) times the root of how much larger it is, at most 2e-3.

    The root rule is usual for AdamW (Malladi et al. 2022, arXiv:2205.10287); beyond 2e-3 nothing was tried.
    """
    return Recipe(batch=batch, lr=min(8e-4 * (batch / 64) ** 0.5, 2e-3), warmup_examples=200 * batch, ema_decay=0.998, hold=0.7)


@contextmanager
def drawing(build: Path, n_shards: int, size: int) -> Iterator[list[Future[Path]]]:
    """Have all cores but one draw the world's shards, in order, while the caller works; what is not begun at the end is left."""
    world = write_world("petri", build)
    build.joinpath("pool").mkdir(exist_ok=True)
    with ProcessPoolExecutor(max((os.cpu_count() or 2) - 1, 1)) as workers:
        yield [workers.submit(save_shard, sprites_of(build), build / "pool", index, world, size) for index in range(n_shards)]
        workers.shutdown(cancel_futures=True)


def prepare(build: Path, own: bool) -> None:
    """Set the autoencoder's encoder and make a tokenizer, both from what is drawn so far; or take petri's."""
    arguments = argparse.Namespace(build=build)
    if not own:
        begin(build, trained=False)
    elif not (build / "matrix.pt").exists():
        run_vae(arguments)
    run_latents(arguments)
    (build / "unet.json").write_text(json.dumps(UNET), encoding="utf-8", newline="\n")


def start_text(build: Path, examples: int) -> None:
    """Give the text encoder its start, on the processor."""
    torch.manual_seed(0)
    encoder = make_text_encoder(load_tokenizer(build / "tokenizer"))
    for _ in train_text_start(encoder, load_latents(build / "latents"), Goal(examples)):
        pass
    torch.save(encoder.state_dict(), build / "text_start.pt")


def train_petri(
    notebook: Notebook, device: str, seconds: float, *, batch: int = 512, n_shards: int = 64, size: int = SHARD, own: bool = True,
    text_examples: int = 60_000,
) -> None:  # fmt: skip
    """Draw, prepare and train until the time is over, with weights and log every minute."""
    build, deadline = notebook.folder / "build", Deadline(seconds)
    with drawing(build, n_shards, size) as shards:
        shards[0].result()
        prepare(build, own)
        start_text(build, text_examples)
        notebook.add(PART, "ready to train", seconds=deadline.spent_seconds, pictures=len(load_latents(build / "latents")))
        state = load_state(build, recipe_of(batch), device)
        left = Deadline(max(seconds - deadline.spent_seconds, 1.0))
        loss = train_and_save(state, build, notebook.folder, recipe_of(batch), left)
    pictures = len(load_latents(build / "latents"))
    seen: dict[str, float | int | str] = {"examples": state.examples, "seconds": state.spent_seconds, "pictures": pictures}
    notebook.add(PART, f"petri on {device}, batches of {batch}", loss=loss, **seen)


def train_and_save(state: TrainingState, build: Path, out: Path, recipe: Recipe, deadline: Deadline) -> float:
    """Train until the deadline and return the last loss; a line of the log every 50 steps, weights every minute and at the end."""

    def pool() -> LatentPool:
        run_latents(argparse.Namespace(build=build))  # what was drawn meanwhile
        return load_latents(build / "latents")

    empty, saved_at, loss = tokenize(load_tokenizer(build / "tokenizer"), [""])[0], 0.0, float("nan")
    with (out / "log.jsonl").open("a", encoding="utf-8", newline="\n") as log:
        for reading in train_steps(state, pool, empty, recipe, deadline):
            log.write(json.dumps(asdict(reading)) + "\n")
            log.flush()
            loss = reading.loss
            if reading.seconds - saved_at > SAVED_EVERY_SECONDS:
                saved_at = reading.seconds
                save_averages(state, out)
    save_averages(state, out)
    return loss


def save_averages(state: TrainingState, out: Path) -> None:
    """Write the moving averages in half precision, a file a part; raises ValueError for one that is too large to be sent back."""
    folder = out / f"weights-{state.examples}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in state.ema.items():
        halves = {key: value.detach().half().cpu().contiguous() for key, value in part.state_dict().items() if value.is_floating_point()}
        save_file(halves, folder / f"{name}.safetensors")
        if (n_bytes := (folder / f"{name}.safetensors").stat().st_size) >= MOST_BYTES:
            raise ValueError(f"{name}.safetensors has {n_bytes} bytes: {MOST_BYTES} are the most that come back")

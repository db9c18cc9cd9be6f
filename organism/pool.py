"""A pool of pictures on disk: in go sprites and a range of seeds, out come shards of pictures with their captions.

A shard is `NNNN.npy`, uint8 (SHARD, 64, 64, 3), beside `NNNN.json`, a list of lists of captions; shard i holds the
seeds i * SHARD to (i + 1) * SHARD - 1, so that a pool can be extended without drawing anything again.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from loralab.petri.draw import make_picture
from loralab.petri.sprites import load_sprites
from organism.captions import make_captions
from organism.world import SMALL, World, sample_truth

SHARD = 4096


def save_shard(sprite_path: Path, folder: Path, index: int, world: World = SMALL, size: int = SHARD) -> Path:
    """Draw one shard of `size` pictures, write it and return its path; a finished shard is left as it is."""
    path = folder / f"{index:04d}.npy"
    if path.exists():
        return path
    sprites = load_sprites(sprite_path)
    truths = [sample_truth(seed, world) for seed in range(index * size, (index + 1) * size)]
    path.with_suffix(".json").write_text(json.dumps([make_captions(truth) for truth in truths]), encoding="utf-8", newline="\n")
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, np.stack([make_picture(truth, sprites) for truth in truths]))
    unfinished.rename(path)
    return path


def save_pool(sprite_path: Path, folder: Path, n_shards: int, n_processes: int = 2, world: World = SMALL) -> None:
    """Draw and write the first shards of the pool."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(n_processes) as workers:
        for path in workers.map(partial(save_shard, sprite_path, folder, world=world), range(n_shards)):
            print(path.name, flush=True)


def load_pictures(folder: Path, n_shards: int | None = None) -> np.ndarray:
    """Return the pictures of the pool's first shards, or of all, uint8 (N, 64, 64, 3)."""
    return np.concatenate([np.load(path, mmap_mode="r") for path in sorted(folder.glob("[0-9]*.npy"))[:n_shards]])


def load_captions(folder: Path) -> list[list[str]]:
    """Return the captions of all pictures of the pool."""
    return [row for path in sorted(folder.glob("[0-9]*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]

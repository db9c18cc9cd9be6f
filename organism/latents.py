"""Latents on disk: in go a pool of pictures and a trained autoencoder, out come scaled latents and caption tokens.

Every picture is stored twice, as it is and mirrored; captions never say left or right.
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from loralab.petri.text import tokenize
from loralab.pixels import pixels_of
from organism.patches import encode_patches


@dataclass(frozen=True)
class LatentPool:
    """Training examples in memory."""

    latents: torch.Tensor  # float16 (N, 2, 16, 8, 8), as drawn and mirrored
    tokens: torch.Tensor  # int16 (N, captions, MAX_TOKENS)

    def __len__(self) -> int:
        return len(self.latents)

    def sample_batch(self, rng: np.random.Generator, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return latents (B, 16, 8, 8) and tokens (B, MAX_TOKENS) of pictures drawn with replacement.

        Two captions are drawn and the one that says more is taken: it teaches more, and short ones stay common enough.
        """
        rows = torch.from_numpy(rng.integers(len(self), size=batch))
        sides = torch.from_numpy(rng.integers(2, size=batch))
        says = torch.from_numpy(rng.integers(self.tokens.shape[1], size=(2, batch)))
        one, two = self.tokens[rows, says[0]].long(), self.tokens[rows, says[1]].long()
        end = one[:, -1:]  # captions are padded with the end token
        longer = ((one != end).sum(dim=1) >= (two != end).sum(dim=1))[:, None]
        return self.latents[rows, sides].float(), torch.where(longer, one, two)


def save_latents(vae: AutoencoderKL, matrix: torch.Tensor, tokenizer: CLIPTokenizer, pool: Path, folder: Path) -> None:
    """Encode every shard of the pool that is not encoded yet; `matrix` stands in for the set encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(pool.glob("[0-9]*.npy")):
        target = folder / path.with_suffix(".pt").name
        if target.exists():
            continue
        pictures = np.load(path, mmap_mode="r")
        chunks = [encode_both_sides(matrix, pictures[i : i + 256]) for i in range(0, len(pictures), 256)]
        latents = torch.cat(chunks) * vae.config.scaling_factor
        captions = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        tokens = tokenize(tokenizer, [caption for row in captions for caption in row]).unflatten(0, (len(captions), -1))
        unfinished = target.with_suffix(".part")
        torch.save({"latents": latents.half(), "tokens": tokens.to(torch.int16)}, unfinished)
        unfinished.rename(target)
        print(target.name, flush=True)


def encode_both_sides(matrix: torch.Tensor, pictures: np.ndarray) -> torch.Tensor:
    """Return unscaled latents (B, 2, 16, 8, 8) of pictures and of their mirror images."""
    pixels = pixels_of(pictures)
    return torch.stack([encode_patches(matrix, pixels), encode_patches(matrix, pixels.flip(-1))], dim=1)


def load_latents(folder: Path) -> LatentPool:
    """Return all shards that are encoded so far."""
    shards = [torch.load(path) for path in sorted(folder.glob("[0-9]*.pt"))]
    return LatentPool(torch.cat([s["latents"] for s in shards]), torch.cat([s["tokens"] for s in shards]))

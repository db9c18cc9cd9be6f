"""The random streams of a run: a replicate in, the same draws in every arm out (common random numbers)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from loralab.seeds import seed_for


def init_seed(root_seed: int, replicate: int) -> int:
    """Return the seed of a replicate's initial adapter."""
    return seed_for(root_seed, "train", "init", replicate)


def sample_order(root_seed: int, replicate: int, n_examples: int, batch: int) -> Iterator[torch.Tensor]:
    """Yield the indices (B,) of each step: shuffled epochs, one behind the other."""
    generator = torch.Generator().manual_seed(seed_for(root_seed, "train", "order", replicate))
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch:
            waiting = torch.cat([waiting, torch.randperm(n_examples, generator=generator)])
        yield waiting[:batch]
        waiting = waiting[batch:]


def sample_noise(root_seed: int, replicate: int, shape: tuple[int, ...], n_timesteps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (noise, timesteps) of each step; ``shape`` is (B, C, h, w)."""
    generator = torch.Generator().manual_seed(seed_for(root_seed, "train", "noise", replicate))
    while True:
        noise = torch.randn(shape, generator=generator)
        yield noise, torch.randint(n_timesteps, (shape[0],), generator=generator)

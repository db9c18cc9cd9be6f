"""The random streams of a run: a replicate in, the same draws in every arm out (common random numbers)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import torch

from loralab.seeds import seed_for


def stream_of(replicate: int, seed: int | None) -> int:
    """Return the number by which a training's streams are drawn: its replicate, which all arms share, unless its arm has a seed."""
    return replicate if seed is None else seed_for(seed, "arm", replicate)


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


def sample_bucketed_order(root_seed: int, replicate: int, buckets: Sequence[Hashable], batch: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield (epochs, indices), B of each, of every step: all of one bucket; epochs count from 1.

    Epochs are shuffled as a whole, and a bucket's step comes when it has a full batch; what is left waits for the next epoch, so that
    nothing is left out and no batch is small. With a single bucket this is `sample_order`.
    """
    generator = torch.Generator().manual_seed(seed_for(root_seed, "train", "order", replicate))
    waiting: dict[Hashable, list[tuple[int, int]]] = {bucket: [] for bucket in buckets}
    epoch = 0
    while True:
        epoch += 1
        for index in torch.randperm(len(buckets), generator=generator).tolist():
            queue = waiting[buckets[index]]
            queue.append((epoch, index))
            if len(queue) == batch:
                yield [each for each, _ in queue], [place for _, place in queue]
                queue.clear()


class NoiseStream:
    """The noise and timesteps of a replicate, drawn step by step from one CPU generator that can be put back to where it was."""

    def __init__(self, root_seed: int, replicate: int, n_timesteps: int) -> None:
        self.generator = torch.Generator().manual_seed(seed_for(root_seed, "train", "noise", replicate))
        self.n_timesteps = n_timesteps

    def draw(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (noise, timesteps) of the next step for a shape (B, C, h, w)."""
        noise = torch.randn(shape, generator=self.generator)
        return noise, torch.randint(self.n_timesteps, (shape[0],), generator=self.generator)

    def state(self) -> torch.Tensor:
        """Return where the generator is, as bytes (uint8)."""
        return self.generator.get_state()

    def restore(self, state: torch.Tensor) -> None:
        """Go to where ``state`` was taken."""
        self.generator.set_state(state)


def sample_noise(root_seed: int, replicate: int, shape: tuple[int, ...], n_timesteps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (noise, timesteps) of each step; ``shape`` is (B, C, h, w)."""
    stream = NoiseStream(root_seed, replicate, n_timesteps)
    while True:
        yield stream.draw(shape)

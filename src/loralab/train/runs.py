"""The nouns of training: what is trained, one step of it, and what became of it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch

from loralab.adapters import Adapter
from loralab.spec.models import TrainSpec
from loralab.train.feed import Feed


@dataclass(frozen=True)
class TrainRun:
    """One run to train: its recipe and its examples as latents (N, C, h, w) and embeddings (N, T, D).

    Where the text encoder is trained too, embeddings change with every step: there are ``tokens`` (N, T) in their place.
    """

    run_id: str
    spec: TrainSpec
    latents: torch.Tensor
    embeddings: torch.Tensor | None
    replicate: int
    tokens: torch.Tensor | None = None
    feed: Feed | None = None  # in place of latents and text, where showings differ
    preserved: torch.Tensor | None = None  # as `text`: the captions under which the base's predictions are a target too

    @property
    def text(self) -> torch.Tensor:
        """The captions as the loop takes them: tokens where the text encoder is trained, else embeddings; empty where they are missing."""
        found = self.tokens if self.spec.trains_text else self.embeddings
        return torch.empty(0) if found is None else found


@dataclass(frozen=True)
class Step:
    """One optimiser step (counted from 1): the loss of each run, None where a run has stopped.

    ``adapters`` are copies of the runs' adapters as they are now, at the steps to keep; None for a run that has stopped, empty elsewhere.
    """

    step: int
    losses: list[float | None]
    adapters: tuple[Adapter | None, ...] = ()


@dataclass(frozen=True)
class TrainedRun:
    """What became of a run; ``failed`` says why it stopped, None if it did not."""

    run_id: str
    adapter: Adapter
    losses: list[float]
    initial_sha256: str
    failed: str | None


def finished(steps: Generator[Step, None, list[TrainedRun]]) -> list[TrainedRun]:
    """Return what became of the runs of a training, carried to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            trained: list[TrainedRun] = end.value
            return trained

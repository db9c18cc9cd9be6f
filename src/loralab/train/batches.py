"""What a stack is shown, step by step: runs in, the inputs of one step of all of them out; can start behind any step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from loralab.bases import Base, same_length
from loralab.errors import lab_error
from loralab.train.feed import Showing
from loralab.train.noise import Drawn, Place, check_timesteps, draw_for
from loralab.train.runs import TrainRun
from loralab.train.streams import NoiseStream, sample_order


@dataclass(frozen=True)
class Minibatch:
    """The inputs of one step for the whole stack, group-major."""

    latents: torch.Tensor  # (K*B, C, h, w)
    text: torch.Tensor  # embeddings (K*B, T, D), or tokens (K*B, T)
    noise: torch.Tensor  # (K*B, C, h, w)
    timesteps: torch.Tensor  # (K*B,)
    weights: torch.Tensor | None = None  # (K*B,)
    masks: torch.Tensor | None = None  # (K*B, 1, h, w)
    perturbation: torch.Tensor | None = None  # (K*B, C, h, w), added to the noise in what the model sees
    from_base: torch.Tensor | None = None  # (K*B,) bool: whether the base's prediction is the target
    preserved: torch.Tensor | None = None  # as `text`: captions under which the base's predictions are the target

    @property
    def seen_noise(self) -> torch.Tensor:
        """The noise in what the model sees."""
        return self.noise if self.perturbation is None else self.noise + self.perturbation


class Batches:
    """The stack's inputs, one `next()` a step; noise is drawn once a replicate and shared by its arms."""

    def __init__(self, base: Base, runs: Sequence[TrainRun], root_seed: int, n_timesteps: int) -> None:
        self.base, self.runs, self.root_seed, self.n_timesteps = base, runs, root_seed, n_timesteps
        for run in runs:
            check_timesteps(run.spec, n_timesteps, run.run_id)
        self.done = 0
        self.sources = [_showings(run, root_seed) for run in runs]
        replicates = dict.fromkeys(run.replicate for run in runs)
        self.noises = {replicate: NoiseStream(root_seed, replicate, n_timesteps) for replicate in replicates}

    def next(self) -> Minibatch:
        """Return the inputs of the next step; raises LabError("training") where the runs' resolutions differ at it."""
        batch = self.runs[0].spec.batch
        shown = [next(source) for source in self.sources]
        shapes = {tuple(each.latents.shape) for each in shown}
        if len(shapes) > 1:
            raise lab_error("training", f"{len(shapes)} resolutions in one step", "trainings on several resolutions, each in its own stack")
        self.done += 1
        drawn = self._draw(next(iter(shapes)))
        texts, preserved = _texts(self.base, self.runs, shown)
        return Minibatch(
            latents=torch.cat([each.latents for each in shown]).to(self.base.device),
            text=torch.cat(texts).to(self.base.device),
            noise=torch.cat([each.noise for each in drawn]).to(self.base.device),
            timesteps=torch.cat([each.timesteps for each in drawn]).to(self.base.device),
            weights=_stacked([each.weights for each in shown], [each.latents.new_ones(batch) for each in shown], self.base),
            masks=_stacked([each.masks for each in shown], [torch.ones_like(each.latents[:, :1]) for each in shown], self.base),
            perturbation=_stacked(
                [each.perturbation for each in drawn], [each.noise.new_zeros(()).expand_as(each.noise) for each in drawn], self.base
            ),
            from_base=_stacked([each.from_base for each in shown], [torch.zeros(batch, dtype=torch.bool) for _ in shown], self.base),
            preserved=torch.cat(preserved).to(self.base.device) if preserved else None,
        )

    def _draw(self, shape: tuple[int, ...]) -> list[Drawn]:
        """Return each run's draws of this step for a shape (B, C, h, w)."""
        plain = {replicate: Drawn(*noise.draw(shape)) for replicate, noise in self.noises.items()}
        places = {replicate: Place(self.root_seed, replicate, self.done) for replicate in plain}
        return [draw_for(run.spec, plain[run.replicate], self.n_timesteps, places[run.replicate]) for run in self.runs]

    def state(self) -> dict[str, torch.Tensor]:
        """Return where the noise streams are; the orders of the examples follow from the number of steps."""
        return {f"noise.{replicate}": noise.state() for replicate, noise in self.noises.items()}

    def restore(self, state: dict[str, torch.Tensor], done: int) -> None:
        """Go to where ``state`` was taken, after ``done`` steps; nothing is shown on the way."""
        self.done = done
        self.sources = [_showings(run, self.root_seed, done) for run in self.runs]
        for replicate, noise in self.noises.items():
            noise.restore(state[f"noise.{replicate}"])


def _showings(run: TrainRun, root_seed: int, skip: int = 0) -> Iterator[Showing]:
    """Yield what a run is shown from step ``skip`` + 1 on."""
    if run.feed is not None:
        yield from run.feed.showings(root_seed, run.replicate, run.spec.batch, skip)
        return
    for index in itertools.islice(sample_order(root_seed, run.replicate, len(run.latents), run.spec.batch), skip, None):
        yield Showing(run.latents[index], run.text[index], preserved=None if run.preserved is None else run.preserved[index])


def _texts(base: Base, runs: Sequence[TrainRun], shown: Sequence[Showing]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the runs' texts and the preserved ones, if there are any, all at one length: where captions are drawn anew, lengths differ."""
    found = [each.text for each in shown] + [each.preserved for each in shown if each.preserved is not None]
    found = found if runs[0].spec.trains_text else same_length(base, found)
    return found[: len(runs)], found[len(runs) :]


def _stacked(values: Sequence[torch.Tensor | None], missing: Sequence[torch.Tensor], base: Base) -> torch.Tensor | None:
    """Return what the runs have, one behind the other, ``missing`` where one has none; None where none has any."""
    if all(value is None for value in values):
        return None
    return torch.cat([other if value is None else value for value, other in zip(values, missing, strict=True)]).to(base.device)

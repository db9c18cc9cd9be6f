"""The training loop: a stack of runs in, a Step a step out, trained adapters at the end; the caller owns bars, files and time.

Where the caller gives a folder for it, a training that is killed goes on from its last kept state (`loralab.train.kept`).
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from loralab.adapters import Adapter, AdapterStack, adapter_sha256, make_adapter
from loralab.adapters.blocks import rate_at
from loralab.adapters.flat import FlatValues
from loralab.adapters.kind_stack import KindStack
from loralab.adapters.stack import Drops
from loralab.adapters.trainable import Known
from loralab.bases import Base, denoiser, noise_path, text_shape, token_width
from loralab.bases.family import NoisePath
from loralab.errors import lab_error
from loralab.spec.models import TrainSpec
from loralab.spec.packing import shape_signature
from loralab.train.averages import Averages
from loralab.train.batches import Batches, Minibatch
from loralab.train.drops import drops_at
from loralab.train.kept import Found, Keeper, State, identity_of
from loralab.train.limits import limit_norms
from loralab.train.losses import run_losses, shape_losses
from loralab.train.noise import Place
from loralab.train.optimisers import Values, make_optimiser
from loralab.train.preserving import Seen, make_targets, predict_twice, preservation_losses
from loralab.train.runs import Step, TrainedRun, TrainRun
from loralab.train.schedules import learning_rate
from loralab.train.streams import init_seed

Stack = AdapterStack | KindStack


def train_stack(
    base: Base,
    runs: Sequence[TrainRun],
    *,
    root_seed: int,
    keep: Collection[int] = (),
    checkpointing: bool = False,
    resume: Path | None = None,
) -> Generator[Step, None, list[TrainedRun]]:
    """Train all ``runs`` together, yielding a Step after each; returns the trained runs in order.

    At the steps in ``keep`` the Step carries copies of the adapters; what is kept changes nothing in the training. With
    ``checkpointing`` activations are computed again instead of kept: less memory, more time, the same numbers. The loss is the sum
    over runs of the run's mean, so that no run feels another. A run whose loss or gradient is not finite stops alone and is reported
    as failed.

    ``resume`` is a folder for the state of this stack: it is kept there now and then, and where one of the same training is found, the
    Steps before it are yielded again and the training goes on behind it, to the same bits. The caller removes the folder when it has no
    more use for it. Raises LabError("training") where the runs cannot share a stack.
    """
    _check_runs(base, runs)
    training = Training(base, runs, root_seed, checkpointing=checkpointing)
    keeper = None if resume is None else Keeper(resume, identity_of(base, runs, root_seed, keep, checkpointing=checkpointing))
    found = None if keeper is None else keeper.load(keep)
    if found is not None:
        yield from training.again(found)
    while training.done < runs[0].spec.steps:
        with nullcontext() if keeper is None else keeper.working():
            shown = training.step()
        kept = training.done in keep
        if keeper is not None:
            keeper.offer(training.done, training.state, training.shown() if kept else None)
        yield Step(training.done, shown, training.running() if kept else ())
    return training.trained()


class Training:
    """A stack in training: what its steps change, and where it stands."""

    def __init__(self, base: Base, runs: Sequence[TrainRun], root_seed: int, *, checkpointing: bool) -> None:
        self.base, self.runs, self.checkpointing = base, runs, checkpointing
        recipes = [run.spec for run in runs]
        self.root_seed, known = root_seed, Known()
        self.initial = [make_adapter(base, run.spec, init_seed(root_seed, run.replicate), known) for run in runs]
        self.stack = make_stack(base, self.initial, recipes)
        self.optimiser = make_optimiser(_values_of(self.stack, recipes), recipes)
        self.averages = Averages(self.stack.flat, recipes)
        self.path = noise_path(base)
        self.batches = Batches(base, runs, root_seed, self.path.n_levels)
        self.curve: list[list[float | None]] = []  # a row a step
        self.failed: list[str | None] = [None] * len(runs)

    @property
    def done(self) -> int:
        """How many steps have been made."""
        return len(self.curve)

    def step(self) -> list[float | None]:
        """Make one step; returns the loss of each run, None where a run has stopped."""
        batch, step = self.batches.next(), self.done + 1
        recipes = [run.spec for run in self.runs]
        drops = drops_at([(run.spec, Place(self.root_seed, run.replicate, step)) for run in self.runs])
        values, gradient = _gradient(self.base, self.stack, self.path, batch, recipes, drops, checkpointing=self.checkpointing)
        norms = torch.linalg.vector_norm(gradient, dim=1)
        fine = (torch.isfinite(values) & torch.isfinite(norms)).tolist()
        for k, run in enumerate(self.runs):
            if self.failed[k] is None and not fine[k]:
                self.failed[k] = (
                    f"its loss or gradient became infinite or NaN at step {step} of {run.spec.steps} (learning rate {run.spec.lr:g})"
                )
        alive = torch.tensor([reason is None for reason in self.failed], device=self.base.device)
        rates = torch.tensor([learning_rate(run.spec, step) for run in self.runs], device=self.base.device)
        self.optimiser.step(gradient, norms, rates, alive)
        limit_norms(self.stack, recipes)
        self.averages.add(self.optimiser.shown(), step)
        self.curve.append([None if reason else value for value, reason in zip(values.tolist(), self.failed, strict=True)])
        return self.curve[-1]

    def shown(self) -> torch.Tensor:
        """Return the values (K, P) that the adapters have: the trained ones, or averages of them."""
        return self.averages.shown(self.optimiser.shown())

    def running(self) -> tuple[Adapter | None, ...]:
        """Return copies of the adapters of the runs that have not stopped at the step done last."""
        return _running(self.adapters(self.shown()), self.curve[-1])

    @torch.no_grad()
    def adapters(self, values: torch.Tensor) -> list[Adapter | None]:
        """Return copies of the adapters that have ``values`` (K, P)."""
        if values is self.stack.flat:
            return self.stack.adapters()
        trained = self.stack.flat.clone()
        self.stack.flat.copy_(values)
        found = self.stack.adapters()
        self.stack.flat.copy_(trained)
        return found

    def trained(self) -> list[TrainedRun]:
        """Return what became of the runs."""
        curves = [[value for value in column if value is not None] for column in zip(*self.curve, strict=True)]
        found = zip(self.runs, self.adapters(self.shown()), curves, self.initial, self.failed, strict=True)
        return [
            TrainedRun(run.run_id, adapter, curve, adapter_sha256(start), reason)
            for run, adapter, curve, start, reason in found
            if adapter is not None
        ]

    def state(self) -> State:
        """Return all that steps have changed, as it is now: not copies."""
        tensors = {f"optimiser.{name}": value for name, value in self.optimiser.state().items()}
        tensors |= {"values": self.stack.flat, "averages": self.averages.averages}
        return State(tensors | self.batches.state(), self.curve, self.failed)

    def again(self, found: Found) -> Iterator[Step]:
        """Yield the Steps up to a state that was kept, and go on from there."""
        for step, shown in enumerate(found.state.curve, start=1):
            adapters: tuple[Adapter | None, ...] = ()
            if step in found.kept:
                adapters = _running(self.adapters(found.kept[step]), shown)
            yield Step(step, shown, adapters)
        self.curve, self.failed = found.state.curve, found.state.failed
        self.stack.flat.copy_(found.state.tensors["values"])
        self.averages.averages.copy_(found.state.tensors["averages"])
        self.optimiser.restore(found.state.part("optimiser."))
        self.batches.restore(found.state.tensors, self.done)


def _running(adapters: Sequence[Adapter | None], losses: Sequence[float | None]) -> tuple[Adapter | None, ...]:
    """Return the adapters of the runs that have not stopped."""
    return tuple(None if loss is None else adapter for adapter, loss in zip(adapters, losses, strict=True))


def _check_runs(base: Base, runs: Sequence[TrainRun]) -> None:
    signatures = {shape_signature(run.spec) for run in runs}
    if len(signatures) != 1:
        raise lab_error("training", f"{len(signatures)} different shapes in one stack", "trainings with equal batch, steps and targets")
    for run in runs:
        if run.feed is None and (tuple(run.latents.shape[1:]) != base.latent_shape or not len(run.latents) == len(run.text) > 0):
            kind = "tokens" if run.spec.trains_text else "embeddings"
            found = f"latents {list(run.latents.shape)} and {kind} {list(run.text.shape)}"
            expected = f"{kind} for each of at least one latent {list(base.latent_shape)}"
            raise lab_error("training", found, expected, where=run.run_id)
        if run.spec.masked_prior_preservation_weight and (run.feed is None or all(each.mask is None for each in run.feed.pictures)):
            found = "masked_prior_preservation_weight, but no picture has a mask"
            raise lab_error("training", found, "masks, where the base's prediction is to be kept", where=run.run_id)
        given = run.preserved is not None if run.feed is None else run.feed.preserve is not None
        if given != (run.spec.preserves != ""):
            found = "captions to preserve" if given else "no captions to preserve"
            expected = "a recipe that preserves outputs" if given else "some for each picture, since the recipe preserves outputs"
            raise lab_error("training", found, expected, where=run.run_id)


def make_stack(base: Base, adapters: Sequence[Adapter], recipes: Sequence[TrainSpec]) -> Stack:
    """Return the stack in which adapters of one kind are trained, as the recipes, which share a signature, tell it."""
    if recipes[0].is_plain_lora:
        return AdapterStack(base, adapters, trainable=True)
    return KindStack(base, adapters, recipes)


def _values_of(stack: Stack, recipes: Sequence[TrainSpec]) -> Values:
    return Values(stack.flat, stack.columns, _shares(stack.values, recipes))


def _shares(values: FlatValues, recipes: Sequence[TrainSpec]) -> torch.Tensor | None:
    """Return the part of its run's learning rate that each value gets (K, P), None where all get all of it.

    In text encoders text_encoder_lr / lr, elsewhere 1; in a block of ``block_lrs`` that block's factor times that; in `up` factors
    loraplus_ratio times that (Hayou et al. 2024, arXiv:2402.12354).
    """
    text = [recipe.text_encoder_lr / recipe.lr if recipe.trains_text else 1.0 for recipe in recipes]
    plus = [recipe.loraplus_ratio for recipe in recipes]
    blocks = any(recipe.block_lrs for recipe in recipes)
    if set(text) == set(plus) == {1.0} and not blocks:
        return None
    device = values.flat.device
    shares = torch.where(values.text_columns, torch.tensor(text, device=device)[:, None], 1.0)
    if blocks:
        shares = shares * torch.stack([values.spread([rate_at(recipe, path) for path, _ in values.names]) for recipe in recipes])
    if set(plus) == {1.0}:
        return shares
    return torch.where(values.up_columns, shares * torch.tensor(plus, device=device)[:, None], shares)


def _gradient(
    base: Base, stack: Stack, path: NoisePath, batch: Minibatch, recipes: Sequence[TrainSpec], drops: Drops | None, *, checkpointing: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each run's loss (K,) and its gradient (K, P)."""
    noisy = path.noisy(batch.latents, batch.seen_noise, batch.timesteps)
    shaped = shape_losses(recipes, path, batch.timesteps)
    seen = Seen(noisy, batch.timesteps, batch.text, recipes[0].trains_text)
    with _attention(base):
        targets = make_targets(base, seen, path.target(batch.latents, batch.noise, batch.timesteps), batch, recipes)
    with stack.attached(drops=drops), _recomputed(denoiser(base), checkpointing), _attention(base):
        predicted, again = predict_twice(base, seen, batch.preserved, stack.n_groups)
        losses = run_losses(predicted, targets.own, stack.n_groups, batch.weights, batch.masks, shaped, targets.prior)
        if again is not None and targets.preserved is not None:
            losses = losses + preservation_losses(again, targets.preserved, recipes)
        return losses.detach(), stack.values.gradient(losses)


#: latent positions up to which attention is written out as products: SD1 at 256 px; beyond, the scores would fill the memory
PLAIN_ATTENTION = 1024


@contextmanager
def _attention(base: Base) -> Iterator[None]:
    """Have attention computed as plain products where torch's own kernel is slow: on a processor, in half precision.

    A bfloat16 step of 16 LoRAs on petri takes 1.05 s with torch 2.13's flash kernel for CPUs, .49 s without it, and .65 s in float32, which
    keeps the kernel (one thread of an Intel Xeon with AMX).
    """
    if base.device.type == "cpu" and base.dtype != torch.float32 and base.latent_shape[1] * base.latent_shape[2] <= PLAIN_ATTENTION:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


@contextmanager
def _recomputed(model: Any, on: bool) -> Iterator[None]:
    """Have the denoiser's blocks keep their inputs alone for the block, and compute the rest again (Chen et al. 2016)."""
    if not on or model.is_gradient_checkpointing:
        yield
        return
    model.enable_gradient_checkpointing()
    try:
        yield
    finally:
        model.disable_gradient_checkpointing()


def dry_step(base: Base, recipes: Sequence[TrainSpec], *, checkpointing: bool) -> None:
    """Do all that one step of a stack does, on zeros and without looking at a value: for a base whose tensors have none."""
    known = Known()
    stack = make_stack(base, [make_adapter(base, recipe, 0, known) for recipe in recipes], recipes)
    trains_text, device = recipes[0].trains_text, base.device
    optimiser = make_optimiser(_values_of(stack, recipes), recipes)
    n = len(recipes) * recipes[0].batch
    latents, noise = (torch.zeros(n, *base.latent_shape, device=device) for _ in range(2))
    if trains_text:
        text = torch.zeros(n, token_width(base), dtype=torch.int64, device=device)
    else:
        text = torch.zeros(n, *text_shape(base), device=device)
    batch = Minibatch(latents, text, noise, torch.zeros(n, dtype=torch.int64, device=device))
    batch = replace(batch, preserved=text if recipes[0].preserves else None)
    whole = [recipe.model_copy(update={"module_dropout": 0.0}) for recipe in recipes]  # which layers are left out is a value
    drops = drops_at([(recipe, Place(0, 0, 1)) for recipe in whole])
    values, gradient = _gradient(base, stack, noise_path(base), batch, recipes, drops, checkpointing=checkpointing)
    norms = torch.linalg.vector_norm(gradient, dim=1)
    optimiser.step(gradient, norms, torch.ones_like(values), torch.isfinite(norms))

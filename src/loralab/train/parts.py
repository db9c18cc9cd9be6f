"""A stack of runs trained in parts side by side: on a processor, processes with a part each wait for nobody.

Threads that share each operator of one large stack wait for one another at every one of them, and most operators of a small base are too
small to share. No quantity couples two runs of a stack, so the parts need nothing of each other. In and out: as `train_stack`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from loralab.bases import Base
from loralab.crew import Crew
from loralab.train.loop import train_stack
from loralab.train.runs import Step, TrainedRun, TrainRun

#: a part of fewer runs would lose more by its smaller products than it gains
LEAST_RUNS = 4
#: pictures of a feed that each part may encode, and keep, for itself: some hundred of 64 px
MOST_PICTURE_BYTES = 4 << 20


def parts_for(runs: Sequence[TrainRun], n_processes: int) -> int:
    """Return into how many parts a stack is cut: one for each process, where each part has enough runs.

    Where runs share a feed whose cache would be large, the stack stays whole.
    """
    if any(run.feed is not None and run.feed.picture_bytes > MOST_PICTURE_BYTES for run in runs):
        return 1
    return max(1, min(n_processes, len(runs) // LEAST_RUNS))


def train_in_parts(
    base: Base,
    runs: Sequence[TrainRun],
    crew: Crew,
    *,
    root_seed: int,
    keep: Collection[int] = (),
    checkpointing: bool = False,
    resume: Path | None = None,
) -> Generator[Step, None, list[TrainedRun]]:
    """Train all ``runs`` as `train_stack` does, in parts beside each other where there are processes and runs enough.

    Each part keeps its state in a folder of its own inside ``resume``.
    """
    n = parts_for(runs, crew.n)
    train = partial(train_stack, root_seed=root_seed, keep=frozenset(keep), checkpointing=checkpointing)
    if n == 1:
        return (yield from train(base, runs, resume=resume))
    bounds = [round(len(runs) * part / n) for part in range(n + 1)]
    folders = [None if resume is None else resume / f"part-{part + 1}-of-{n}" for part in range(n)]
    calls = [(crew.lend(base), _without_base(runs[start:stop])) for start, stop in itertools.pairwise(bounds)]
    parts = crew.generators(_train_part, [(train, *call, folder) for call, folder in zip(calls, folders, strict=True)])
    try:
        while True:
            results = [_advance(part) for part in parts]
            steps = [result for result in results if isinstance(result, Step)]
            if not steps:
                return [run for result in results if not isinstance(result, Step) for run in result]
            losses = [loss for step in steps for loss in step.losses]
            yield Step(steps[0].step, losses, tuple(adapter for step in steps for adapter in step.adapters))
    finally:
        for part in parts:
            part.close()


def _train_part(
    train: Callable[..., Generator[Step, None, list[TrainedRun]]], base: Base, runs: Sequence[TrainRun], resume: Path | None
) -> Generator[Step, None, list[TrainedRun]]:
    for feed in {id(run.feed): run.feed for run in runs if run.feed is not None}.values():
        feed.base = base
    return (yield from train(base, runs, resume=resume))


def _without_base(runs: Sequence[TrainRun]) -> list[TrainRun]:
    """Return the runs with feeds of their own, shared as before, without a base and what it has encoded: what is sent is small."""
    feeds = {id(run.feed): run.feed.without_base() for run in runs if run.feed is not None}
    return [run if run.feed is None else replace(run, feed=feeds[id(run.feed)]) for run in runs]


def _advance(part: Generator[Step, None, list[TrainedRun]]) -> Step | list[TrainedRun]:
    """Return the next step of a part, or at its end what became of its runs."""
    try:
        return next(part)
    except StopIteration as end:
        trained: list[TrainedRun] = end.value
        return trained

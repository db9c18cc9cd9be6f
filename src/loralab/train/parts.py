"""A stack of runs trained in parts side by side: on a processor, two threads with a part each wait for one another once a step.

Threads that share each operator of one large stack wait for one another at every one of them, and most operators of a small base are too
small to share. No quantity couples two runs of a stack, so the parts need nothing of each other. In and out: as `train_stack`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from loralab.bases import Base, structural_twin
from loralab.train.loop import Step, TrainedRun, TrainRun, train_stack

#: a part of fewer runs would lose more by its smaller products than it gains
LEAST_RUNS = 4


def parts_for(runs: Sequence[TrainRun], device: torch.device, threads: int) -> int:
    """Return into how many parts a stack is cut: one for each thread, where each part has enough runs.

    On an accelerator, and where runs share a feed with its cache, the stack stays whole.
    """
    if device.type != "cpu" or any(run.feed is not None for run in runs):
        return 1
    return max(1, min(threads, len(runs) // LEAST_RUNS))


def train_in_parts(
    base: Base, runs: Sequence[TrainRun], *, root_seed: int, keep: Collection[int] = (), checkpointing: bool = False
) -> Generator[Step, None, list[TrainedRun]]:
    """Train all ``runs`` as `train_stack` does, in parts that run beside each other."""
    threads = torch.get_num_threads()
    n = parts_for(runs, base.device, threads)
    if n == 1:
        return (yield from train_stack(base, runs, root_seed=root_seed, keep=keep, checkpointing=checkpointing))
    bounds = [round(len(runs) * part / n) for part in range(n + 1)]
    stacks = [
        train_stack(structural_twin(base), runs[start:stop], root_seed=root_seed, keep=keep, checkpointing=checkpointing)
        for start, stop in itertools.pairwise(bounds)
    ]
    with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(threads // n,)) as workers:
        while True:
            results = list(workers.map(_advance, stacks))
            steps = [result for result in results if isinstance(result, Step)]
            if not steps:
                return [run for result in results if not isinstance(result, Step) for run in result]
            losses = [loss for step in steps for loss in step.losses]
            yield Step(steps[0].step, losses, tuple(adapter for step in steps for adapter in step.adapters))


def _advance(stack: Generator[Step, None, list[TrainedRun]]) -> Step | list[TrainedRun]:
    """Return the next step of a stack, or at its end what became of its runs."""
    try:
        return next(stack)
    except StopIteration as end:
        trained: list[TrainedRun] = end.value
        return trained

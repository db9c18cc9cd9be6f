"""Training and drawing many LoRAs on petri together against one at a time: the same work, in turn, in one process.

    python benchmarks/packing.py [--rounds 3]

Prints medians over the rounds, the ratio, and the versions. One adapter at a time is a stack of one: the same code without company.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from loralab.adapters import make_adapter
from loralab.bases import Base, embed_prompts, load_base
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec.models import SampleSpec, TrainSpec
from loralab.train import TrainRun, train_stack

STEPS = 4


def train_seconds(base: Base, runs: Sequence[TrainRun], stack: int) -> float:
    """Return seconds of one optimiser step of every run, in stacks of ``stack``; the first step of a stack (set-up) is left out."""
    total = 0.0
    for start in range(0, len(runs), stack):
        steps = train_stack(base, runs[start : start + stack], root_seed=0)
        next(steps)
        before = time.perf_counter()
        for _ in steps:
            pass
        total += (time.perf_counter() - before) / (STEPS - 1)
    return total


def draw_seconds(base: Base, n_adapters: int, images_each: int, together: bool) -> float:
    """Return seconds to draw ``images_each`` pictures with each adapter, in one batch or adapter by adapter."""
    spec = SampleSpec(steps=6, guidance=5)
    adapters = {str(k): make_adapter(base, TrainSpec(rank=2), k) for k in range(n_adapters)}
    embeddings = dict(zip(["cat", ""], embed_prompts(base, ["cat", ""]), strict=True))
    blocks = [ImageBlock(name, "cat", 1.0, tuple(range(images_each))) for name in adapters]
    groups = [blocks] if together else [[block] for block in blocks]
    before = time.perf_counter()
    for group in groups:
        for batch in plan_batches(group, 64):
            sample_batch(base, batch, adapters, spec, embeddings)
    return time.perf_counter() - before


def compare(name: str, alone: Callable[[], float], together: Callable[[], float], rounds: int) -> None:
    """Print the medians of both and their ratio; the two take turns."""
    pairs = [(alone(), together()) for _ in range(rounds)]
    one, many = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"{name:44} alone {one:7.2f} s   together {many:7.2f} s   ratio {one / many:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True
    )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    base = load_base("petri")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}, Python {platform.python_version()}")
    text, latents = embed_prompts(base, ["a", "b", "c"]), torch.randn(3, *base.latent_shape, generator=torch.Generator().manual_seed(0))
    for batch in (1, 4):
        for stack in (8, 16, 32):
            recipe = TrainSpec(rank=2, steps=STEPS, batch=batch)
            runs = [TrainRun(str(k), recipe, latents, text, replicate=k) for k in range(stack)]
            name = f"training, {stack} adapters, batch {batch}, a step"
            compare(name, lambda runs=runs: train_seconds(base, runs, 1), lambda runs=runs: train_seconds(base, runs, len(runs)), rounds)
    for images in (1, 4):
        compare(
            f"drawing, 16 adapters, {images} pictures each",
            lambda images=images: draw_seconds(base, 16, images, together=False),
            lambda images=images: draw_seconds(base, 16, images, together=True),
            rounds,
        )


if __name__ == "__main__":
    main()

"""Claim: drawing reaches at least 60 % and training at least 50 % of what this machine's matrix products reach at their best.

    python benchmarks/peak_share.py [--quick]

The peak is measured: products of square matrices in the precision of the base, the best size of several, the best of the rounds.
Operations are counted by
torch.utils.flop_counter over the same call that is timed (it leaves attention on a CPU out, so the shares err on the low side);
a training step includes noise, gradient and optimiser, a drawn batch includes solver, guidance and the decoder.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode
from turns import Bench, benching, parser_of

from loralab.adapters import make_adapter
from loralab.bases import Base, embed_prompts, load_base
from loralab.bases.load import DTYPES
from loralab.crew import ALONE, Crew
from loralab.sample import ImageBlock, plan_batches, sample_batches
from loralab.spec import LoadSpec, SampleSpec, TrainSpec
from loralab.study.plan import MAX_IMAGES, MAX_STACK
from loralab.train import TrainRun, train_in_parts

SIZES = (512, 1024, 2048, 4096)
STEPS = 12


def peak_flops(bench: Bench, sizes: tuple[int, ...]) -> float:
    """Return the operations a second of the best matrix product."""
    best = 0.0
    for size in sizes:
        a = torch.randn(size, size, device=bench.options.device, dtype=DTYPES[bench.options.precision])
        for _ in range(bench.rounds + 1):  # one more: the first sets up
            best = max(best, 2 * size**3 / timed(bench, lambda a=a: a @ a))
    return best


def timed(bench: Bench, work: Callable[[], object]) -> float:
    """Return the seconds of ``work`` on the device, waiting for it."""

    def waited() -> None:
        work()
        if bench.options.device != "cpu":
            torch.cuda.synchronize()

    return bench.seconds(waited)


def flops_of(work: Callable[[], object]) -> int:
    """Return the operations that torch counts in ``work``."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def training_work(base: Base, batch: int, crew: Crew) -> Callable[[], None]:
    """Return a few steps of a full stack of each process."""
    latents, text = torch.randn(3, *base.latent_shape), embed_prompts(base, ["a", "b", "c"])
    recipe = TrainSpec(rank=2, steps=STEPS, batch=batch)
    runs = [TrainRun(str(k), recipe, latents, text, replicate=k % 8) for k in range(MAX_STACK * crew.n)]

    def work() -> None:
        for _ in train_in_parts(base, runs, crew, root_seed=0):
            pass

    return work


def drawing_work(base: Base, crew: Crew) -> Callable[[], None]:
    """Return two full batches of pictures, eight LoRAs in each."""
    spec = SampleSpec(steps=12, guidance=5)
    adapters = {str(k): make_adapter(base, TrainSpec(rank=2), k) for k in range(8)}
    embeddings = dict(zip(["a", ""], embed_prompts(base, ["a", ""]), strict=True))
    batches = plan_batches([ImageBlock(name, "a", 1.0, tuple(range(MAX_IMAGES // 4))) for name in adapters], MAX_IMAGES)

    def work() -> None:
        for _ in sample_batches(base, batches, adapters, spec, embeddings, crew):
            pass

    return work


def main() -> None:
    """Measure the peak before and after, and both shares between."""
    with benching(parser_of(__doc__)) as bench:
        base = load_base("petri", LoadSpec(device=bench.options.device, precision=bench.options.precision))
        sizes = SIZES[:3] if bench.options.quick else SIZES
        peaks = [peak_flops(bench, sizes)]
        found = {}
        for name, make in {
            "drawing, 64 pictures, 12 steps": partial(drawing_work, base),
            "training at batch 4": partial(training_work, base, 4),
            "training at batch 1": partial(training_work, base, 1),
        }.items():
            each = 1 if name.startswith("drawing") else bench.crew.n  # every process has a stack of its own
            count, work = each * flops_of(make(ALONE)), make(bench.crew)  # what is counted is this process alone
            work()  # starts the processes
            found[name] = (count, statistics.median(timed(bench, work) for _ in range(bench.rounds)))
        peaks.append(peak_flops(bench, sizes))
        bench.show(f"matrix products reach {max(peaks) / 1e9:.0f} GFLOP/s", {"name": "peak", "flops": peaks})
        for name, (count, seconds) in found.items():
            share = count / seconds / max(peaks)
            line = f"{name}: {count / 1e9:.0f} GFLOP in {seconds:.2f} s, {count / seconds / 1e9:.0f} GFLOP/s, {share:.0%} of the peak"
            bench.show(line, {"name": name, "flops": count, "seconds": seconds, "share": share})


if __name__ == "__main__":
    main()

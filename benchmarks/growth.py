"""Claim: time grows in proportion to the work, and memory with what stands in one stack or batch, not with the size of the study.

    python benchmarks/growth.py [--quick | --every 2]

Each point is a process of its own, so that its peak memory is its own: LoRAs trained together (1 to 64, batch 4 and 1), replicates (8 arms
at 1 to 8, in the lab's stacks), pictures drawn. Seconds are those of the work alone; the memory of an idle process with the base loaded
stands in the first row.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping

import torch
from turns import Bench, benching, clock_seconds, parser_of

from loralab.adapters import make_adapter
from loralab.bases import Base, embed_prompts, load_base
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec import LoadSpec, SampleSpec, TrainSpec
from loralab.spec.packing import pack_runs
from loralab.study.plan import MAX_IMAGES, MAX_STACK
from loralab.train import TrainRun, train_stack

STEPS = 4


def idle(base: Base, n: int) -> float:
    """Do nothing."""
    return 0.0


def stack_of(batch: int) -> Callable[[Base, int], float]:
    """Return the work: n LoRAs in one stack, whatever its size; gives back the examples that it trained on."""

    def work(base: Base, n: int) -> float:
        _train(base, [(str(k), k % 8) for k in range(n)], batch)
        return n * batch * STEPS

    return work


def replicates(base: Base, n: int) -> float:
    """Train 8 arms n times each, in the stacks that the lab makes; returns the examples."""
    recipe = TrainSpec(rank=2, steps=STEPS, batch=4)
    runs = {f"{arm}-r{replicate}": replicate for replicate in range(n) for arm in range(8)}
    for stack in pack_runs([(name, recipe) for name in runs], MAX_STACK):
        _train(base, [(name, runs[name]) for name in stack], 4)
    return 8 * n * 4 * STEPS


def _train(base: Base, runs: list[tuple[str, int]], batch: int) -> None:
    latents, text = torch.randn(3, *base.latent_shape), embed_prompts(base, ["a", "b", "c"])
    recipe = TrainSpec(rank=2, steps=STEPS, batch=batch)
    for _ in train_stack(base, [TrainRun(name, recipe, latents, text, replicate) for name, replicate in runs], root_seed=0):
        pass


def pictures(base: Base, n: int) -> float:
    """Draw n pictures with 16 LoRAs; returns n."""
    adapters = {str(k): make_adapter(base, TrainSpec(rank=2), k) for k in range(16)}
    embeddings = dict(zip(["a", ""], embed_prompts(base, ["a", ""]), strict=True))
    blocks = [ImageBlock(name, "a", 1.0, tuple(range(n // 16))) for name in adapters]
    for batch in plan_batches(blocks, MAX_IMAGES):
        sample_batch(base, batch, adapters, SampleSpec(steps=12, guidance=5), embeddings)
    return n


#: what grows -> (the work, what one unit of it is, sizes, sizes with --quick)
GROWTHS: Mapping[str, tuple[Callable[[Base, int], float], str, tuple[int, ...], tuple[int, ...]]] = {
    "nothing": (idle, "", (0,), (0,)),
    "LoRAs in a stack, batch 4": (stack_of(4), "example", (1, 2, 4, 8, 16, 32, 64), (1, 16)),
    "LoRAs in a stack, batch 1": (stack_of(1), "example", (1, 2, 4, 8, 16, 32, 64), (1, 16)),
    "replicates of 8 arms": (replicates, "example", (1, 2, 4, 8), (1, 2)),
    "pictures of 16 LoRAs": (pictures, "picture", (16, 32, 64, 128, 256), (16, 32)),
}


def measure_point(name: str, n: int, device: str, threads: int | None, clock: str) -> dict[str, float]:
    """Do one work in this process and return its seconds, units and the process's peak memory in MiB."""
    if threads:
        torch.set_num_threads(threads)
    base = load_base("petri", LoadSpec(device=device))
    before = clock_seconds(clock)
    units = GROWTHS[name][0](base, n)
    seconds = clock_seconds(clock) - before
    found = {"seconds": seconds, "units": units, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device != "cpu":
        found["device_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def run_point(bench: Bench, name: str, n: int) -> None:
    """Measure one point in a process of its own and show it."""
    options = bench.options
    command = [sys.executable, __file__, "--point", name, str(n), "--device", options.device, "--clock", options.clock]
    command += ["--threads", str(options.threads)] if options.threads else []
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    each = f", {found['seconds'] / found['units'] * 1000:.1f} ms {GROWTHS[name][1]}" if found["units"] else ""
    device = f", on the device {found['device_mib']:.0f} MiB" if "device_mib" in found else ""
    bench.show(
        f"{name:28} {n:4}: {found['seconds']:7.2f} s{each}; peak memory {found['peak_mib']:.0f} MiB{device}",
        {"name": name, "n": n, **found},
    )


def parse() -> argparse.ArgumentParser:
    """Return the script's options."""
    parser = parser_of(__doc__)
    parser.add_argument("--point", nargs=2, metavar=("NAME", "N"), default=None, help="One point, in this process; prints JSON.")
    parser.add_argument("--every", type=int, default=1, help="Take only every n-th size.")
    return parser


def main() -> None:
    """Run every point, or the one that was asked for."""
    given = parse().parse_args()
    if given.point is not None:
        print(json.dumps(measure_point(given.point[0], int(given.point[1]), given.device, given.threads, given.clock)))
        return
    with benching(parse()) as bench:
        for name, (_, _, sizes, quick) in GROWTHS.items():
            for n in quick if bench.options.quick else sizes[:: bench.options.every]:
                run_point(bench, name, n)


if __name__ == "__main__":
    main()

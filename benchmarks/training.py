"""Claim: training 64 LoRAs (8 arms, 8 replicates) together is at least 5 times as fast as diffusers' own script run once for each, and 2.5
times (batch 4) and 5 times (batch 1) as fast as the strongest loop over one adapter at a time with peft.

    python benchmarks/training.py --diffusers DIFFUSERS_CHECKOUT [--packages DIR_WITH_DATASETS] [--quick]

The recipe is the article's: rank 2, 64 steps, three pictures an arm, on petri. A round trains one full stack of the lab, a few adapters
with peft and one with the script (its start-up included, as it is paid for each adapter), and takes each times what is left of the 64:
every adapter costs the same. --whole trains all 64 everywhere instead. Without --diffusers the script's part is left out.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers_script import find_script, train_with_script, write_imagefolder
from peft_training import train_with_peft
from turns import Bench, benching, parser_of

from loralab.adapters import adapted_layers
from loralab.bases import Base, embed_prompts, encode_images, load_base
from loralab.bases.diffusion import make_noise_schedule
from loralab.data import make_examples
from loralab.petri import petri_folder
from loralab.pixels import pixels_of
from loralab.spec import LoadSpec, ShapesData, TrainSpec
from loralab.spec.packing import pack_runs
from loralab.study.plan import MAX_STACK
from loralab.train import TrainRun, train_in_parts

ARMS, REPLICATES = 8, 8
N_ADAPTERS = ARMS * REPLICATES
DATA = ShapesData(generate="shapes", shapes=("circle", "square", "triangle"), fill="grey", background="white")
CAPTION = "myshape"


class Work:
    """The same training set and recipe for all three."""

    def __init__(self, bench: Bench, batch: int, scratch: Path) -> None:
        options = bench.options
        self.bench, self.scratch = bench, scratch
        self.spec = TrainSpec(rank=2, alpha=2, lr=1e-3, steps=options.steps, batch=batch)
        self.base: Base = load_base("petri", LoadSpec(device=options.device, precision=options.precision))
        self.peer: Base = load_base("petri", LoadSpec(device=options.device, precision=options.precision))
        images = [example.image for example in make_examples(DATA, self.base.size_px)]
        self.latents, self.text = encode_images(self.base, pixels_of(np.stack(images))), embed_prompts(self.base, [CAPTION] * len(images))
        write_imagefolder(scratch / "data", np.stack(images), [CAPTION] * len(images))
        self.layers = [path.removeprefix("unet.") for path in adapted_layers(self.base, self.spec.targets)]
        self.schedule = make_noise_schedule(self.base.scheduler_config)
        self._train_stack([f"warm-r{replicate}" for replicate in range(REPLICATES)])  # starts the lab's processes

    def lab_seconds(self) -> float:
        """Return the seconds of the lab for all adapters; one stack stands for the others unless --whole is given."""
        runs = [(f"{arm}-r{replicate}", self.spec) for replicate in range(REPLICATES) for arm in range(ARMS)]
        stacks = pack_runs(runs, MAX_STACK * self.bench.crew.n)
        chosen = stacks if self.bench.options.whole else stacks[:1]
        seconds = self.bench.seconds(lambda: [self._train_stack(stack) for stack in chosen])
        return seconds * N_ADAPTERS / sum(len(stack) for stack in chosen)

    def _train_stack(self, stack: list[str]) -> None:
        runs = [TrainRun(name, self.spec, self.latents, self.text, int(name.split("-r")[1])) for name in stack]
        for _ in train_in_parts(self.base, runs, self.bench.crew, root_seed=0):
            pass

    def peft_seconds(self) -> float:
        """Return the seconds of the loop over peft adapters, for all of them."""
        n = N_ADAPTERS if self.bench.options.whole else self.bench.options.peft_adapters
        work = (self.peer.unet, self.layers, self.schedule, self.spec, self.latents, self.text)
        return self.bench.seconds(lambda: [train_with_peft(*work, seed) for seed in range(n)]) * N_ADAPTERS / n

    def script_seconds(self) -> float:
        """Return the seconds of diffusers' script, once for each adapter."""
        n, options = (N_ADAPTERS if self.bench.options.whole else 1), self.bench.options
        script, threads = find_script(options.diffusers), torch.get_num_threads()
        given = (petri_folder(), self.scratch / "data")

        def work() -> None:
            for index in range(n):
                train_with_script(
                    script, *given, self.scratch / f"out-{index}", self.spec, self.base.size_px, options.packages, threads,
                    options.precision,
                )  # fmt: skip

        return self.bench.seconds(work) * N_ADAPTERS / n


def parse() -> argparse.ArgumentParser:
    """Return the script's options."""
    parser = parser_of(__doc__)
    parser.add_argument("--diffusers", type=Path, default=None, metavar="DIR", help="A checkout of diffusers, for its training script.")
    parser.add_argument(
        "--packages", type=Path, default=None, metavar="DIR", help="Where the script's package `datasets` lies, if elsewhere."
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 1], help="Batch sizes.")
    parser.add_argument("--steps", type=int, default=None, help="Steps of each training. Default: 64, with --quick 8.")
    parser.add_argument("--peft-adapters", type=int, default=2, help="Adapters that peft trains in a round.")
    parser.add_argument("--whole", action="store_true", help="Train all 64 everywhere; nothing is extrapolated (an hour or more).")
    return parser


def main() -> None:
    """Run the comparisons."""
    with benching(parse()) as bench, tempfile.TemporaryDirectory() as scratch:
        options = bench.options
        options.steps = options.steps or (8 if options.quick else 64)
        for batch in options.batch:
            work = Work(bench, batch, Path(scratch))
            name = f"training {N_ADAPTERS} LoRAs, {options.steps} steps of batch {batch}"
            peers = {"peft, one at a time": (work.peft_seconds, f"{options.peft_adapters} adapters")}
            if options.diffusers is not None:
                peers["diffusers' script"] = (work.script_seconds, "1 adapter, start-up included")
            notes = {
                peer: "" if options.whole else f"scaled to {N_ADAPTERS}: peer from {part}, lab from one stack"
                for peer, (_, part) in peers.items()
            }
            bench.compare_all(name, {peer: seconds for peer, (seconds, _) in peers.items()}, work.lab_seconds, notes)


if __name__ == "__main__":
    main()

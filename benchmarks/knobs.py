"""Claim: what each knob costs in a stack of 32 LoRAs, as a ratio to the plain recipe; and that none of them slows the plain recipe by
more than 1 %.

    python benchmarks/knobs.py [--only dora loha ...] [--before SRC] [--quick]

Every round trains the plain stack and then each knob's, the same pictures, steps and batch on petri, on one process; a ratio is that of
a knob's time to the plain one's of the same round, and the median over the rounds is shown. Steps are timed behind the first, which also
sets up. With --before, the `src` folder of an earlier version, both versions train the plain stack in turn, in processes of their own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from turns import Bench, benching, clock_seconds, parser_of

from loralab.bases import load_base, text_shape
from loralab.spec import LoadSpec, TrainSpec
from loralab.train import TrainRun, train_stack

PLAIN: dict[str, Any] = {"rank": 4, "alpha": 4, "lr": 1e-3, "batch": 4}
#: knob -> what of the recipe it changes
KNOBS: dict[str, dict[str, Any]] = {
    "transformer+conv (LoCon)": {"targets": "transformer+conv"},
    "rslora": {"rslora": True}, "start orthogonal": {"start": "orthogonal"}, "start pissa": {"start": "pissa"},
    "start olora": {"start": "olora"}, "dora": {"dora": True}, "dora_norm_constant": {"dora": True, "dora_norm_constant": True},
    "loha": {"algo": "loha"}, "loha, dora": {"algo": "loha", "dora": True}, "lokr": {"algo": "lokr"},
    "lokr, dora": {"algo": "lokr", "dora": True}, "lokr_full_matrix": {"algo": "lokr", "lokr_full_matrix": True}, "ia3": {"algo": "ia3"},
    "block_ranks": {"block_ranks": {"down": 2, "up": 4}}, "block_lrs": {"block_lrs": {"down": 0.5}},
    "network_dropout": {"network_dropout": 0.1}, "rank_dropout": {"rank_dropout": 0.1}, "module_dropout": {"module_dropout": 0.1},
    "scale_weight_norms": {"scale_weight_norms": 1.0}, "loraplus_ratio": {"loraplus_ratio": 16}, "ema_decay": {"ema_decay": 0.99},
    "huber": {"loss_type": "huber"}, "min_snr_gamma": {"min_snr_gamma": 5}, "debiased_estimation": {"debiased_estimation": True},
    "noise_offset": {"noise_offset": 0.05}, "multires_noise": {"multires_noise_iterations": 6}, "ip_noise_gamma": {"ip_noise_gamma": 0.1},
    "timestep_sampling": {"timestep_sampling": "sigmoid"},
    **{name: {"optimiser": name} for name in ("adamw-8bit", "sgd", "lion", "adafactor", "prodigy", "dadapt-adam", "schedule-free-adamw")},
}  # fmt: skip


class Work:
    """The pictures of a stack, and how its steps are timed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.base = load_base("petri", LoadSpec(device=options.device, precision=options.precision))
        generator = torch.Generator().manual_seed(0)
        self.latents = torch.randn(3, *self.base.latent_shape, generator=generator)
        self.text = torch.randn(3, *text_shape(self.base), generator=generator)

    def seconds(self, **changed: Any) -> float:
        """Return the seconds of a step of a stack under a recipe, the first step left out."""
        spec = TrainSpec(**{**PLAIN, "steps": self.options.steps + 1, **changed})
        runs = [TrainRun(f"run-{k}", spec, self.latents, self.text, k) for k in range(self.options.stack)]
        marks = []
        for _ in train_stack(self.base, runs, root_seed=0):
            marks.append(clock_seconds(self.options.clock))
        return (marks[-1] - marks[0]) / self.options.steps


def compare_knobs(bench: Bench, work: Work) -> None:
    """Let the plain recipe and every knob take their turns, and show each ratio."""
    chosen = {name: changed for name, changed in KNOBS.items() if bench.options.only is None or name in bench.options.only}
    rounds = [(work.seconds(), {name: work.seconds(**changed) for name, changed in chosen.items()}) for _ in range(bench.rounds)]
    plain = statistics.median(seconds for seconds, _ in rounds)
    bench.show(f"{'plain':26} {plain:8.3f} s a step of {bench.options.stack}", {"name": "plain", "seconds": plain})
    for name in chosen:
        ratios = sorted(theirs[name] / ours for ours, theirs in rounds)
        middle = statistics.median(ratios)
        line = f"{name:26} {middle:8.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} rounds)"
        bench.show(line, {"name": name, "ratio": middle, "ratios": ratios})


def compare_versions(bench: Bench, before: Path) -> None:
    """Let both versions train the plain stack in turn, in processes of their own."""
    ratios = sorted(_plain_seconds(bench.options, None) / _plain_seconds(bench.options, before) for _ in range(bench.rounds))
    middle = statistics.median(ratios)
    line = f"{'plain, now against before':26} {middle:8.3f} times ({ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} rounds)"
    bench.show(line, {"name": "versions", "ratio": middle, "ratios": ratios})


def _plain_seconds(options: argparse.Namespace, src: Path | None) -> float:
    """Return what a process of a version says of the plain stack."""
    environment = dict(os.environ) if src is None else {**os.environ, "PYTHONPATH": str(src)}
    command = [sys.executable, __file__, "--plain", "--steps", str(options.steps), "--stack", str(options.stack), "--clock", options.clock]
    command += ["--device", options.device, "--precision", options.precision, "--threads", str(torch.get_num_threads())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True)
    return float(done.stdout.split()[-1])


def parse() -> argparse.ArgumentParser:
    """Return the script's options."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(KNOBS), metavar="KNOB", help="These knobs alone.")
    parser.add_argument("--steps", type=int, default=None, help="Steps that are timed in each turn. Default: 8, with --quick 2.")
    parser.add_argument("--stack", type=int, default=32, help="LoRAs together.")
    parser.add_argument("--before", type=Path, default=None, metavar="SRC", help="The `src` folder of an earlier version.")
    parser.add_argument("--plain", action="store_true", help="Print the seconds of a plain step and end.")
    return parser


def main() -> None:
    """Run the comparisons."""
    with benching(parse()) as bench:
        options = bench.options
        options.steps = options.steps or (2 if options.quick else 8)
        work = Work(options)
        if options.plain:
            print(work.seconds())
            return
        if options.before is not None:
            compare_versions(bench, options.before)
        compare_knobs(bench, work)


if __name__ == "__main__":
    main()

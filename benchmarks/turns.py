"""Peer and lab take turns at the same work: medians, their ratio and its spread are printed and kept, as every benchmark here does."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from loralab.crew import ALONE, Crew, crew_of

PACKAGES = ("loralab", "torch", "diffusers", "transformers", "peft", "accelerate", "numpy", "scipy", "scikit-image", "polars")


@dataclass(frozen=True)
class Comparison:
    """Seconds of the same work, done by a peer and by the lab in turn, one pair a round; ``scaled`` says what was multiplied."""

    name: str
    peer: str
    peer_seconds: list[float]
    lab_seconds: list[float]
    scaled: str = ""

    @property
    def ratios(self) -> list[float]:
        """How many times as long the peer took, round by round, sorted."""
        return sorted(peer / lab for peer, lab in zip(self.peer_seconds, self.lab_seconds, strict=True))

    def line(self) -> str:
        """Return one line: medians, ratio of the medians, smallest and largest ratio of a round."""
        peer, lab = statistics.median(self.peer_seconds), statistics.median(self.lab_seconds)
        text = f"{self.name}: {self.peer} {peer:.2f} s, loralab {lab:.2f} s, ratio {peer / lab:.2f} "
        text += f"({self.ratios[0]:.2f} to {self.ratios[-1]:.2f} in {len(self.ratios)} rounds)"
        return text + (f"; {self.scaled}" if self.scaled else "")


@dataclass
class Bench:
    """One script's run: its options, its clock, and where its results go."""

    options: argparse.Namespace
    crew: Crew = ALONE
    rows: list[dict[str, object]] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """How often each side takes its turn."""
        return int(self.options.rounds)

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds of ``work``: wall time, or with `--clock cpu` the processor time of this process and its children."""
        before = clock_seconds(self.options.clock)
        work()
        return clock_seconds(self.options.clock) - before

    def compare(self, name: str, peer: str, peer_work: Callable[[], float], lab_work: Callable[[], float], scaled: str = "") -> Comparison:
        """Let both take turns, print the line and keep it; the works return their own seconds, already scaled."""
        return self.compare_all(name, {peer: peer_work}, lab_work, {peer: scaled})[0]

    def compare_all(
        self, name: str, peers: Mapping[str, Callable[[], float]], lab_work: Callable[[], float], scaled: Mapping[str, str]
    ) -> list[Comparison]:
        """Let every peer and the lab take their turns in each round, print a line a peer and keep it."""
        rounds = [({peer: work() for peer, work in peers.items()}, lab_work()) for _ in range(self.rounds)]
        found = [
            Comparison(name, peer, [theirs[peer] for theirs, _ in rounds], [ours for _, ours in rounds], scaled[peer]) for peer in peers
        ]
        for comparison in found:
            self.show(comparison.line(), asdict(comparison))
        return found

    def show(self, line: str, row: Mapping[str, object]) -> None:
        """Print a result and keep it."""
        print(line, flush=True)
        self.rows.append(dict(row))


def clock_seconds(clock: str) -> float:
    """Return the clock's reading in seconds."""
    if clock == "wall":
        return time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts share; ``text`` is the script's docstring."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=None, help="Turns of each side. Default: 5, with --quick 1.")
    parser.add_argument("--quick", action="store_true", help="A fraction of the work: does it run, and about how fast?")
    parser.add_argument("--threads", type=int, default=None, help="Threads of torch. Default: torch's own choice.")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall",
        help="Wall time, or processor time: on a machine that others use, with one thread, ratios of processor time still mean something.",
    )  # fmt: skip
    parser.add_argument("--one-process", action="store_true", help="The lab works as with `load: {side_by_side: false}`.")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="How both sides hold the base.")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda (not yet run on one by the authors).")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="Append the results, one JSON object, to FILE.")
    return parser


@contextmanager
def benching(parser: argparse.ArgumentParser) -> Iterator[Bench]:
    """Parse, print the versions, give the block its Bench, and keep what it found."""
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    if options.threads:
        torch.set_num_threads(options.threads)
    bench = Bench(options)
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    one = options.one_process or options.device != "cpu" or options.clock == "cpu"  # times of processes that still run are not counted
    n_processes = 1 if one else torch.get_num_threads()
    with crew_of(n_processes, torch.get_num_threads()) as bench.crew:
        yield bench
    if options.json is not None:
        record = {"script": parser.prog, "options": {k: str(v) for k, v in vars(options).items()}, "machine": about, "rows": bench.rows}
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def machine() -> dict[str, str]:
    """Return what the numbers depend on: processor, threads, versions."""
    found = {
        "cpu": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor() or "unknown")

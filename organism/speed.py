"""How quick and how small the shipped weights are: in goes their folder, out comes a Markdown table."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from loralab.bases import load_base
from loralab.portable import load_average
from organism.pipeline import TEXT_WIDTH, make_unet
from organism.sampling import AS_STUDIES, draw_chunk

LOAD = """
import sys, time
import torch, diffusers, transformers
from loralab.bases import load_base
from loralab.portable import load_average
before = time.perf_counter()
load_base(sys.argv[1])
print(time.perf_counter() - before)
"""
MEBIBYTE = 2**20


def load_seconds(folder: Path) -> float:
    """Return the seconds that `load_base` takes in a fresh process, the libraries' own import left out."""
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(folder)], capture_output=True, text=True, encoding="utf-8", check=True
    )
    return float(told.stdout.strip().splitlines()[-1])


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of `rounds` calls behind one that is not counted."""
    work()
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds)


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@torch.inference_mode()
def forward_seconds(folder: Path, rounds: int, batch: int = 64) -> float:
    """Return the seconds of one UNet forward of a batch."""
    base = load_base(str(folder))
    latents, text = torch.randn(batch, *base.latent_shape), torch.randn(batch, 24, base.unet.config.cross_attention_dim)  # type: ignore[union-attr,arg-type,index]
    return median_seconds(lambda: base.unet(latents, 500, text), rounds)


@torch.inference_mode()
def write_costs(sizes: Sequence[tuple[tuple[int, ...], int, int, int]], rounds: int = 15, batch: int = 16) -> str:
    """Return parameters and forwards a second of UNets (channels, layers a block, latents' side, latents' channels) as a Markdown table.

    One thread, processor time of this process: others on the machine do not count. Rounds of all sizes are made in turn.
    """
    unets = [make_unet(*size).eval() for size in sizes]
    latents = [torch.randn(batch, n, side, side) for _, _, side, n in sizes]
    text = torch.randn(batch, 24, TEXT_WIDTH)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: list[list[float]] = [[] for _ in unets]
    for _ in range(rounds + 1):
        for unet, given, times in zip(unets, latents, seconds, strict=True):
            before = time.process_time()
            unet(given, 500, text)
            times.append(time.process_time() - before)
    torch.set_num_threads(n_threads)
    lines = ["| UNet, layers a block | parameters | latents | forwards a second of one core |", "|---|---|---|---|"]
    for (channels, layers, side, n), unet, times in zip(sizes, unets, seconds, strict=True):
        millions = sum(p.numel() for p in unet.parameters()) / 1e6
        rate = batch / statistics.median(times[1:])
        lines.append(f"| {channels}, {layers} | {millions:.1f} M | {side} x {side} x {n} | {rate:.0f} |")
    machine = f"One thread of {platform.machine()}, torch {torch.__version__}, batch {batch}, processor time, medians of {rounds} rounds."
    return "\n".join([*lines, "", machine])


def write_speed(folder: Path, rounds: int) -> str:
    """Return sizes and times as a Markdown table, with what they were measured on."""
    n_threads = torch.get_num_threads()
    forward = forward_seconds(folder, rounds)
    draw = median_seconds(lambda: draw_chunk(folder, AS_STUDIES, ["cat"] * 32, list(range(32))), rounds)
    loads = statistics.median(load_seconds(folder) for _ in range(rounds))
    parts = {path.name: folder_bytes(path) / MEBIBYTE for path in sorted(folder.iterdir()) if path.is_dir()}
    rows = {
        "loading, seconds in a fresh process, libraries imported before": f"{loads:.2f} (goal: below 2)",
        "UNet forwards a second, batch 64, float32": f"{64 / forward:.0f}",
        f"pictures a second ({AS_STUDIES.steps} steps, guidance {AS_STUDIES.guidance:g}, batch 32)": f"{32 / draw:.1f}",
        "weights on disk, MiB": f"{folder_bytes(folder) / MEBIBYTE:.1f} ("
        + ", ".join(f"{name} {size:.1f}" for name, size in parts.items() if size > 0.05) + ")",
    }  # fmt: skip
    lines = ["| what | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    load = load_average()
    machine = f"{n_threads} threads of {platform.machine()}, torch {torch.__version__}, load average {load:.1f} while measuring"
    return "\n".join([*lines, "", f"Medians of {rounds} rounds; {machine}."])

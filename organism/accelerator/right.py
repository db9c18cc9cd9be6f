"""Is a device right: petri's pictures and trainings on it against a processor's, the same twice, in bfloat16, and a study whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from loralab.bases import Base, embed_prompts, load_base
from loralab.sample import Batch, sample_batch
from loralab.spec import LoadSpec, SampleSpec, TrainSpec
from loralab.train import TrainRun, finished, train_stack
from organism.accelerator.notebook import Clock, Notebook

PART = "right"
PROMPTS = ("red circle", "a blue monster on a white background", "grid of cats", "")
STUDY_SECONDS = 60.0


@contextmanager
def exact_products() -> Iterator[None]:
    """Have CUDA multiply in float32 and not in TF32, which rounds to ten bits: convolutions do by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = False, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def draw(base: Base, steps: int, n_seeds: int) -> np.ndarray:
    """Return pictures (N, H, W, 3) uint8 of a few prompts, as studies draw them."""
    embeddings = dict(zip(PROMPTS, embed_prompts(base, list(PROMPTS)), strict=True))
    items = tuple((prompt, seed) for prompt in PROMPTS for seed in range(n_seeds))
    return sample_batch(base, Batch(((None, 0.0),), (items,)), {}, SampleSpec(steps=steps, guidance=3), embeddings)[0]


def train(base: Base, steps: int, k: int = 2) -> tuple[torch.Tensor, list[float]]:
    """Return the weights (P,) and the mean losses of the last quarter of k trainings, on latents and noise that a processor draws."""
    stream = torch.Generator().manual_seed(1)
    latents = (0.5 * torch.randn(4, *base.latent_shape, generator=stream)).to(base.device)
    text = torch.stack(list(embed_prompts(base, ["red monster"] * 4)))
    spec = TrainSpec(rank=2, steps=steps, batch=2)
    running = train_stack(base, [TrainRun(str(index), spec, latents, text, replicate=index) for index in range(k)], root_seed=0)
    runs = finished(running)
    weights = [part.float().cpu().flatten() for run in runs for pair in run.adapter.weights.values() for part in pair]
    return torch.cat(weights), [float(np.mean(run.losses[-max(steps // 4, 1) :])) for run in runs]


def difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return the largest and the mean difference of pictures, in grey levels."""
    apart = np.abs(one.astype(int) - other.astype(int))
    return {"largest": float(apart.max()), "mean": float(apart.mean())}


def apart(one: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    """Return the largest difference of weights, and the difference's norm over the weights'."""
    return {"largest": float((one - other).abs().max()), "relative": float((one - other).norm() / one.norm())}


def check_right(notebook: Notebook, device: str, clock: Clock, dry: bool) -> None:
    """Write how near a device comes to a processor, whether it does the same twice, and what bfloat16 changes."""
    picture_steps, n_seeds, train_steps = (2, 1, 2) if dry else (12, 4, 64)
    with exact_products():
        cpu, there = (load_base("petri", LoadSpec(device=name)) for name in ("cpu", device))
        own, theirs = draw(cpu, picture_steps, n_seeds), draw(there, picture_steps, n_seeds)
        notebook.add(PART, f"{len(own)} pictures of {picture_steps} steps, {device} against cpu", **difference(own, theirs))
        told_same(notebook, f"pictures twice on {device}", lambda: draw(there, picture_steps, n_seeds), theirs)
        (own_weights, own_losses), (weights, losses) = train(cpu, train_steps), train(there, train_steps)
        moved = {"mean_loss_cpu": own_losses[0], f"mean_loss_{device}": losses[0]}
        notebook.add(PART, f"trainings of {train_steps} steps, {device} against cpu", **apart(own_weights, weights), **moved)
        told_same(notebook, f"trainings twice on {device}", lambda: train(there, train_steps)[0].numpy(), weights.numpy())
    half = load_base("petri", LoadSpec(device=device, precision="bf16"))
    notebook.add(PART, f"pictures in bf16 against fp32 on {device}", **difference(draw(half, picture_steps, n_seeds), theirs))
    half_weights, half_losses = train(half, train_steps)
    notebook.add(PART, f"trainings over a bf16 base against fp32 on {device}", **apart(weights, half_weights), mean_loss=half_losses[0])
    if dry:
        return
    if clock.has(STUDY_SECONDS):
        run_smoke_study(notebook, device, notebook.folder / "lab", clock.left_seconds)
    else:
        notebook.add(PART, "a smoke study whole", left_out="no time")


def told_same(notebook: Notebook, about: str, again: Callable[[], np.ndarray], before: np.ndarray) -> None:
    """Write whether work done again gives the same bits."""
    notebook.add(PART, about, bits="the same" if np.array_equal(again(), before) else "different")


def run_smoke_study(notebook: Notebook, device: str, lab: Path, seconds: float) -> None:
    """Run the article's study at its smallest on a device, whole, and write how it ended."""
    command = [sys.executable, "-W", "ignore", "-m", "loralab", "run", "article", "--smoke", "--device", device, "--lab", str(lab)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=seconds)
        notebook.add(PART, "a smoke study whole", status=done.returncode, said=(done.stdout + done.stderr).strip()[-200:])
    except subprocess.TimeoutExpired:
        notebook.add(PART, "a smoke study whole", left_out="did not end in the time that was left")

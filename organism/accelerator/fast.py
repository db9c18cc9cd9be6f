"""How fast is a device: K adapters together against one at a time and against peft, and peak memory against the memory model.

Times are medians after a warm-up, the device's own part included. peft's side is the loop of benchmarks/peft_training.py: what diffusers'
script does in its loop, without what surrounds it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from loralab.adapters import AdapterStack, adapted_layers, make_adapter
from loralab.bases import Base, predict
from loralab.bases.diffusion import make_noise_schedule
from loralab.cost.memory import train_peak_bytes, weights_bytes
from loralab.sample import Batch, sample_batch
from loralab.spec import SampleSpec, TrainSpec
from loralab.train import TrainRun, train_stack
from organism.accelerator.notebook import Clock, Notebook
from organism.accelerator.sizes import make_base, random_text, told_besides
from organism.rests_on import ROOT

PART = "fast"
RANK = 8
STACKS = {"petri": (1, 4, 16, 64, 256), "sd15": (1, 2, 4, 8), "sdxl": (1, 2, 4, 8)}
GUESS_SECONDS = 5.0  # of a first measurement; later ones are judged by the last


@dataclass(frozen=True)
class Effort:
    """How many steps a piece of work has, and how often it is timed behind its warm-up."""

    steps: int = 6
    rounds: int = 3


FULL, TINY = Effort(), Effort(1, 1)


def seconds_of(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Return the median seconds of a piece of work, after it was done once."""
    taken = []
    for _ in range(rounds + 1):
        before = time.perf_counter()
        work()
        wait_for(device)
        taken.append(time.perf_counter() - before)
    return statistics.median(taken[1:])


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def peak_of(device: torch.device) -> Iterator[dict[str, float]]:
    """Yield a place into which the device's peak memory is written at the end, in MiB; it stays empty on a processor."""
    found: dict[str, float] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["peak_mib"] = torch.cuda.max_memory_allocated(device) / 2**20


def make_runs(base: Base, spec: TrainSpec, k: int) -> list[TrainRun]:
    """Return k trainings on four random pictures."""
    latents = torch.randn(4, *base.latent_shape, generator=torch.Generator().manual_seed(0)).to(base.device)
    return [TrainRun(str(index), spec, latents, random_text(base, 4), replicate=index) for index in range(k)]


def train_with_lab(base: Base, runs: list[TrainRun]) -> None:
    """Train a stack to its end."""
    for _ in train_stack(base, runs, root_seed=0):
        pass


def measure_peft(notebook: Notebook, base: Base, batch: int, effort: Effort) -> None:
    """Write adapter-steps a second of peft's loop, one adapter at a time; it leaves its wrappers in the UNet, so it comes last."""
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(ROOT / "benchmarks"))
    from peft_training import train_with_peft

    run = make_runs(base, TrainSpec(rank=RANK, steps=effort.steps, batch=batch), 1)[0]
    schedule = make_noise_schedule(base.scheduler_config)
    schedule.alphas_cumprod = schedule.alphas_cumprod.to(base.device)
    layers = [path.removeprefix("unet.") for path in adapted_layers(base, run.spec.targets)]
    text = run.text[:, :-1] if base.family == "sdxl" else run.text
    told = told_besides(base, run.text, batch)
    taken = seconds_of(
        lambda: train_with_peft(base.unet, layers, schedule, run.spec, run.latents, text, 0, told), base.device, effort.rounds
    )
    notebook.add(PART, f"{base.name}: peft, one at a time, batch {batch}", adapter_steps_a_second=effort.steps / taken)


def draw_with_lab(base: Base, k: int, steps: int) -> None:
    """Draw a picture with each of k adapters, together."""
    adapters = {str(index): make_adapter(base, TrainSpec(rank=RANK), index) for index in range(k)}
    embeddings = dict(zip(["a", ""], random_text(base, 2), strict=True))
    batch = Batch(tuple((name, 1.0) for name in adapters), ((("a", 0),),) * k)
    sample_batch(base, batch, adapters, SampleSpec(steps=steps, guidance=5), embeddings)


def measure_training(notebook: Notebook, base: Base, batch: int, stacks: tuple[int, ...], clock: Clock, effort: Effort) -> None:
    """Write adapter-steps a second of growing stacks, beside the memory model's peak; ends where memory or time does."""
    spec = TrainSpec(rank=RANK, steps=effort.steps, batch=batch)
    about = f"{base.name}: {{}} LoRAs together, batch {batch}"
    alone = 0.0
    for k, seconds, peak in growing(notebook, about, base, stacks, clock, effort, lambda k: train_with_lab(base, make_runs(base, spec, k))):
        rate = k * effort.steps / seconds
        alone = alone or rate
        model = (train_peak_bytes(base, spec, k, checkpointing=False) + weights_bytes(base)) / 2**20
        found = {"adapter_steps_a_second": rate, "times_one_at_a_time": rate / alone, **peak, "memory_model_mib": model}
        notebook.add(PART, about.format(k), **found)


def measure_drawing(notebook: Notebook, base: Base, stacks: tuple[int, ...], clock: Clock, effort: Effort) -> None:
    """Write pictures a second of growing batches, a LoRA each."""
    about = f"{base.name}: a picture with each of {{}} LoRAs, {effort.steps} steps"
    alone = 0.0
    for k, seconds, peak in growing(notebook, about, base, stacks, clock, effort, lambda k: draw_with_lab(base, k, effort.steps)):
        alone = alone or 1 / seconds
        notebook.add(PART, about.format(k), pictures_a_second=k / seconds, times_one_at_a_time=k / seconds / alone, **peak)


def growing(
    notebook: Notebook, about: str, base: Base, stacks: tuple[int, ...], clock: Clock, effort: Effort, work: Callable[[int], object]
) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Yield (k, seconds of ``work(k)``, peak of memory) of growing stacks; ends where memory or time does, and writes which it was."""
    last = GUESS_SECONDS
    for k in stacks:
        if not clock.has((effort.rounds + 1) * last):
            notebook.add(PART, about.format(k), left_out="no time")
            return
        with full_memory(notebook, about.format(k)) as fits, peak_of(base.device) as peak:
            last = seconds_of(partial(work, k), base.device, effort.rounds)
        if not fits[0]:
            return
        yield k, last, peak


@contextmanager
def full_memory(notebook: Notebook, about: str) -> Iterator[list[bool]]:
    """Yield whether the work fitted into the device's memory, known at the end; what did not is written."""
    fits = [True]
    try:
        yield fits
    except torch.OutOfMemoryError:
        fits[0] = False
        notebook.add(PART, about, left_out="does not fit into the device's memory")
        torch.cuda.empty_cache()


@torch.no_grad()
def measure_graph(notebook: Notebook, base: Base, k: int, effort: Effort) -> None:
    """Write whether a captured graph of one forward pass of k adapters pays, against the same pass called anew."""
    about = f"{base.name}: a forward pass of {k} LoRAs, captured as a CUDA graph"
    if base.device.type != "cuda":
        notebook.add(PART, about, left_out="no CUDA device")
        return
    stack = AdapterStack(base, [make_adapter(base, TrainSpec(rank=RANK), index) for index in range(k)])
    latents = torch.randn(k, *base.latent_shape, device=base.device)
    given: tuple[Any, ...] = (latents, torch.full((k,), 500, device=base.device), random_text(base, 1).expand(k, -1, -1))
    with stack.attached([1.0] * k):
        plain = seconds_of(lambda: predict(base, *given), base.device, effort.rounds)
        try:
            graph = captured(base, given)
        except RuntimeError as error:
            notebook.add(PART, about, left_out=f"cannot be captured: {str(error).splitlines()[0]}")
            return
        notebook.add(PART, about, times_the_plain_pass=plain / seconds_of(graph.replay, base.device, effort.rounds))


def captured(base: Base, given: tuple[Any, ...]) -> torch.cuda.CUDAGraph:
    """Return one forward pass as a graph, behind three that warm up beside the stream."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            predict(base, *given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        predict(base, *given)
    return graph


def check_fast(notebook: Notebook, device: str, clock: Clock, dry: bool) -> None:
    """Write how fast petri and the two sizes are trained and drawn with, as far as time allows."""
    effort = TINY if dry else FULL
    for name, stacks in STACKS.items():
        chosen = stacks[:2] if dry else stacks
        base = make_base(name, device, "fp32" if dry else "bf16", small=dry)
        measure_training(notebook, base, 1, chosen, clock, effort)
        measure_drawing(notebook, base, chosen, clock, effort)
        measure_graph(notebook, base, chosen[-1], effort)
        if clock.has(GUESS_SECONDS):
            measure_peft(notebook, base, 1, effort)

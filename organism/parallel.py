"""Data parallelism over processes: each takes the gradients of a batch of its own, and all step by their mean.

Threads that share the work of each operator wait for one another thousands of times a step, and threads with a part of the batch
each share Python's lock (docs/log.md). Processes of one thread wait once a step, without spinning.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def bfloat16_training(device: str = "cpu") -> Iterator[None]:
    """Compute in bfloat16 where that is safe; on processors with attention as plain products.

    torch 2.13's flash kernel for CPUs takes half of a training step for its backward pass in bfloat16: 53 examples/s of
    one thread with it, 93 without, 69 in float32 (petri's UNet, batches of 24, Intel Xeon with AMX).
    """
    with torch.autocast(device, torch.bfloat16), sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext():
        yield


def run_together(n_processes: int, work: Callable[..., None], *given: Any) -> None:
    """Run work(rank, *given) in processes that know each other; raises SystemExit where one of them fails, after ending the others."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        context = get_context("spawn")
        processes = [context.Process(target=join, args=(rank, n_processes, meeting, work, given)) for rank in range(n_processes)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode != 0:
                for other in processes:
                    other.terminate()
    if any(process.exitcode != 0 for process in processes):
        raise SystemExit(f"a process of the training ended with {[process.exitcode for process in processes]}")


def join(rank: int, n_processes: int, meeting: str, work: Callable[..., None], given: Sequence[Any]) -> None:
    """Run work as one of several processes, of one thread each."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=n_processes)
    try:
        work(rank, *given)
    finally:
        dist.destroy_process_group()


def set_shared_gradients(
    parameters: Sequence[torch.nn.Parameter], gradients: Sequence[torch.Tensor], loss: torch.Tensor
) -> torch.Tensor:  # fmt: skip
    """Set each parameter's gradient to the mean over the processes, and return their mean loss, (); alone it is the process's own."""
    if dist.is_initialized():
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.detach().view(1)])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        parts = flat[:-1].split([gradient.numel() for gradient in gradients])
        gradients = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
        loss = flat[-1]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return loss.detach()

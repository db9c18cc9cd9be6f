"""Data parallelism over Python threads: in go a loss of one slice and parameters, out come mean gradients in `.grad`.

Each slice runs with one OpenMP thread of its own. Threads that share the work of each operator wait for one another
thousands of times a step: on two busy cores that was measured at a twentieth of the speed. Here they wait once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def bfloat16_training() -> Iterator[None]:
    """Compute in bfloat16 where that is safe, with attention as plain products.

    torch 2.13's flash kernel for CPUs takes half of a training step for its backward pass in bfloat16: 53 examples/s of
    one thread with it, 93 without, 69 in float32 (petri's UNet, batches of 24, Intel Xeon with AMX).
    """
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


def make_workers(n_threads: int, operator_threads: int = 1) -> ThreadPoolExecutor:
    """Return Python threads whose operators split over `operator_threads` each."""
    torch.set_num_threads(operator_threads)
    return ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(operator_threads,))


def set_mean_gradients(
    workers: ThreadPoolExecutor,
    loss_of: Callable[[slice], torch.Tensor],
    parameters: Sequence[torch.nn.Parameter],
    batch: int,
    n_slices: int = 2,
) -> float:
    """Set each parameter's gradient to the mean over equal slices of a batch, and return the mean loss.

    `batch` is a multiple of `n_slices`; a parameter that no slice reads gets a zero gradient.
    """
    size = batch // n_slices

    def run(index: int) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = loss_of(slice(index * size, (index + 1) * size))
        return loss.item(), torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)

    results = list(workers.map(run, range(n_slices)))
    total = list(results[0][1])
    for _, gradients in results[1:]:
        torch._foreach_add_(total, gradients)
    torch._foreach_div_(total, float(n_slices))
    for parameter, gradient in zip(parameters, total, strict=True):
        parameter.grad = gradient
    return sum(loss for loss, _ in results) / n_slices

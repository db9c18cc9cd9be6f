"""What processes of a training do in tests, in a module of its own: a process that is spawned imports the one of its function."""

from __future__ import annotations

from pathlib import Path

import torch

from organism.parallel import set_shared_gradients


def take_half_a_batch(rank: int, out: Path) -> None:
    """Write the shared gradient and loss of one of two halves."""
    weight, inputs = weight_and_inputs()
    loss = (inputs[rank * 4 : rank * 4 + 4] @ weight).square().mean()
    (gradient,) = torch.autograd.grad(loss, [weight])
    mean_loss = set_shared_gradients([weight], [gradient], loss)
    torch.save((weight.grad, mean_loss.item()), out / f"{rank}.pt")


def weight_and_inputs() -> tuple[torch.nn.Parameter, torch.Tensor]:
    torch.manual_seed(0)
    return torch.nn.Parameter(torch.randn(3)), torch.randn(8, 3)


def fail_alone(rank: int) -> None:
    """Fail in the second of two processes."""
    raise SystemExit(3 if rank == 1 else 0)

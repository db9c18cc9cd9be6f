"""AdamW for a stack: values and gradients (K, P) in, updated in place, each run by its own rate, decay, clipping and fate."""

from __future__ import annotations

from collections.abc import Sequence

import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class StackedAdamW:
    """Decoupled AdamW (Loshchilov & Hutter 2019, algorithm 2) over K independent runs; no quantity couples two rows."""

    def __init__(
        self, values: torch.Tensor, weight_decays: Sequence[float], max_norms: Sequence[float], shares: torch.Tensor | None = None
    ) -> None:
        """``shares`` (K, P) says which part of its run's learning rate each value gets; None = all of it."""
        self.values = values  # (K, P)
        self.shares = shares
        self.first = torch.zeros_like(values)
        self.second = torch.zeros_like(values)
        self.weight_decays = values.new_tensor(list(weight_decays))[:, None]
        self.max_norms = values.new_tensor(list(max_norms))[:, None]
        self.steps = 0

    @torch.no_grad()
    def step(self, gradients: torch.Tensor, norms: torch.Tensor, rates: torch.Tensor, alive: torch.Tensor) -> None:
        """Update every run that is ``alive`` (K,) by its learning rate in ``rates`` (K,); the others keep their values.

        ``norms`` (K,) are the gradients' lengths: above its limit a run's gradient is shortened, as in torch's clip_grad_norm_.
        """
        self.steps += 1
        factors = (self.max_norms / (norms[:, None] + 1e-6)).clamp(max=1.0)
        clipped = torch.where(alive[:, None], gradients * factors, 0.0)  # a product would keep a stopped run's NaN
        self.first.lerp_(clipped, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(clipped, clipped, value=1 - BETAS[1])
        corrected_first = self.first / (1 - BETAS[0] ** self.steps)
        corrected_second = self.second / (1 - BETAS[1] ** self.steps)
        rate = torch.where(alive, rates, 0.0)[:, None]
        if self.shares is not None:
            rate = rate * self.shares
        self.values.mul_(1 - rate * self.weight_decays)
        self.values.sub_(rate * corrected_first / (corrected_second.sqrt() + EPSILON))

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that steps have left here but the values themselves."""
        return {"first": self.first, "second": self.second, "steps": torch.tensor(self.steps)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go to where ``state`` was taken."""
        self.first.copy_(state["first"])
        self.second.copy_(state["second"])
        self.steps = int(state["steps"])

"""The denoising loss: predictions and targets in, one mean a run out."""

from __future__ import annotations

import torch

from loralab.bases.diffusion import TARGETS, make_noise_schedule, make_target

__all__ = ["TARGETS", "make_noise_schedule", "make_target", "run_losses"]


def run_losses(
    predicted: torch.Tensor, target: torch.Tensor, n_runs: int, weights: torch.Tensor | None = None, masks: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean squared error of each run (K,) for predictions (K*B, C, h, w), group-major.

    ``masks`` (K*B, 1, h, w) multiply the squares, ``weights`` (K*B,) the pictures' means, and the mean is over all as in kohya's
    sd-scripts (masked loss, prior loss weight): a masked place lowers the loss, it does not make others weigh more.
    """
    if weights is not None or masks is not None:
        squares = (predicted - target).square() * (1.0 if masks is None else masks)
        means = squares.flatten(1).mean(dim=1) * (1.0 if weights is None else weights)
        return means.reshape(n_runs, -1).mean(dim=1)
    return (predicted - target).square().reshape(n_runs, -1).mean(dim=1)

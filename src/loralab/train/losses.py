"""The denoising loss: predictions and targets in, one mean a run out, each run by its own recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from loralab.bases.family import NoisePath
from loralab.spec.models import TrainSpec

#: sd-scripts and OneTrainer hold SNRs to this where they divide by them (debiased estimation)
MOST_SNR = 1000.0


def run_losses(
    predicted: torch.Tensor,
    target: torch.Tensor,
    n_runs: int,
    weights: torch.Tensor | None = None,
    masks: torch.Tensor | None = None,
    shaped: Shaped | None = None,
    prior: Prior | None = None,
) -> torch.Tensor:
    """Return the loss of each run (K,) for predictions (K*B, C, h, w), group-major: the mean squared error, unless ``shaped`` says more.

    ``masks`` (K*B, 1, h, w) multiply the elements, ``weights`` (K*B,) the pictures' means, and the mean is over all as in kohya's
    sd-scripts (masked loss, prior loss weight): a masked place lowers the loss, it does not make others weigh more. There ``prior`` may
    set another target.
    """
    elements = _elements(predicted, target, shaped)
    if weights is not None or masks is not None:
        if prior is not None and masks is not None:
            elements = elements * masks + _elements(predicted, prior.target, shaped) * (1 - masks) * prior.weights[:, None, None, None]
            masks = None
        means = (elements * (1.0 if masks is None else masks)).flatten(1).mean(dim=1) * (1.0 if weights is None else weights)
        return means.reshape(n_runs, -1).mean(dim=1)
    return elements.reshape(n_runs, -1).mean(dim=1)


def _elements(predicted: torch.Tensor, target: torch.Tensor, shaped: Shaped | None) -> torch.Tensor:
    return (predicted - target).square() if shaped is None else shaped.elements(predicted, target)


@dataclass(frozen=True)
class Prior:
    """What masked places are held to: the base's predictions (K*B, C, h, w), and what missing them counts for each picture (K*B,).

    Masked prior preservation: OneTrainer, modules/util/loss/masked_loss.py, where a mask m makes m * loss + (1 - m) * weight * prior loss.
    """

    target: torch.Tensor
    weights: torch.Tensor


# --- weights of timesteps ---------------------------------------------------------------------------------------------------


def min_snr_weight(snr: torch.Tensor, gamma: float, *, velocity: bool) -> torch.Tensor:
    """Return min(SNR, gamma) / SNR, for v prediction over SNR + 1 (Hang et al. 2023, arXiv:2303.09556; sd-scripts apply_snr_weight)."""
    if velocity:
        return snr.clamp(max=gamma) / (snr + 1)
    return (gamma / snr).clamp(max=1)  # 1 where SNR is 0


def debiased_weight(snr: torch.Tensor, *, velocity: bool) -> torch.Tensor:
    """Return 1 / sqrt(SNR), for v prediction 1 / (SNR + 1) (Yu et al. 2023, arXiv:2310.08442; sd-scripts apply_debiased_estimation).

    OneTrainer takes 1 / sqrt(SNR + 1) for v prediction.
    """
    held = snr.clamp(max=MOST_SNR)
    return 1 / (held + 1) if velocity else held.rsqrt()


def p2_weight(snr: torch.Tensor, gamma: float, *, velocity: bool) -> torch.Tensor:
    """Return (1 + SNR) ** -gamma, for v prediction (2 + SNR) ** -gamma (Choi et al. 2022, arXiv:2204.00227; OneTrainer, P2)."""
    return (snr + (2 if velocity else 1)) ** -gamma


def timestep_weights(spec: TrainSpec, snr: torch.Tensor, *, velocity: bool) -> torch.Tensor:
    """Return what each picture's loss counts under a recipe (B,), the product of the weights that it turns on."""
    weights = torch.ones_like(snr)
    if spec.min_snr_gamma is not None:
        weights = weights * min_snr_weight(snr, spec.min_snr_gamma, velocity=velocity)
    if spec.debiased_estimation:
        weights = weights * debiased_weight(snr, velocity=velocity)
    if spec.p2_gamma is not None:
        weights = weights * p2_weight(snr, spec.p2_gamma, velocity=velocity)
    return weights


# --- distances --------------------------------------------------------------------------------------------------------------


def huber_threshold(spec: TrainSpec, timesteps: torch.Tensor, snr: torch.Tensor, n_timesteps: int) -> torch.Tensor:
    """Return the threshold c of each picture (B,) under the recipe's schedule (sd-scripts get_huber_threshold_if_needed).

    ``snr`` falls from 1 at no noise to huber_c at pure noise, ``exponential`` from huber_scale to huber_c * huber_scale.
    """
    if spec.huber_schedule == "exponential":
        return torch.exp(math.log(spec.huber_c) / n_timesteps * timesteps) * spec.huber_scale
    if spec.huber_schedule == "snr":
        return (1 - spec.huber_c) / (1 + snr.rsqrt()) ** 2 + spec.huber_c
    return torch.full_like(snr, spec.huber_c * spec.huber_scale)


def _squares(error: torch.Tensor, _c: torch.Tensor) -> torch.Tensor:
    return error.square()


def _absolute(error: torch.Tensor, _c: torch.Tensor) -> torch.Tensor:
    return error.abs()


def _huber(error: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """2 c (sqrt(e^2 + c^2) - c): e^2 near 0, 2 c |e| far away (pseudo-Huber; sd-scripts conditional_loss)."""
    return 2 * c * ((error.square() + c.square()).sqrt() - c)


def _smooth_l1(error: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """2 (sqrt(e^2 + c^2) - c): e^2 / c near 0, 2 |e| far away (sd-scripts conditional_loss)."""
    return 2 * ((error.square() + c.square()).sqrt() - c)


#: loss_type in a study file -> the distance of each element from its error and its picture's threshold
DISTANCES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "l2": _squares, "l1": _absolute, "huber": _huber, "smooth_l1": _smooth_l1,
}  # fmt: skip


def is_plain_loss(spec: TrainSpec) -> bool:
    """Whether a recipe's loss is the mean squared error, all timesteps alike."""
    return spec.loss_type == "l2" and spec.min_snr_gamma is None and not spec.debiased_estimation and spec.p2_gamma is None


@dataclass(frozen=True)
class Shaped:
    """What the recipes of a stack make of errors at one step: a distance a run, a threshold and a weight a picture."""

    distances: tuple[str, ...]  # K
    thresholds: torch.Tensor  # (K, B)
    weights: torch.Tensor  # (K, B)

    def elements(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the weighed distances (K*B, C, h, w); those of a plain run are its squared errors bit for bit."""
        errors = (predicted - target).chunk(len(self.distances))
        thresholds = self.thresholds[:, :, None, None, None]
        found = [DISTANCES[name](error, c) for name, error, c in zip(self.distances, errors, thresholds, strict=True)]
        return torch.cat(found) * self.weights.flatten()[:, None, None, None]


def shape_losses(recipes: Sequence[TrainSpec], path: NoisePath, timesteps: torch.Tensor) -> Shaped | None:
    """Return what the recipes make of errors at ``timesteps`` (K*B,); None where all of them take the mean squared error."""
    if all(is_plain_loss(recipe) for recipe in recipes):
        return None
    rows = timesteps.reshape(len(recipes), -1)
    snr, velocity = path.signal_to_noise(rows), path.tells == "v_prediction"
    thresholds = [huber_threshold(recipe, t, s, path.n_levels) for recipe, t, s in zip(recipes, rows, snr, strict=True)]
    weights = [timestep_weights(recipe, s, velocity=velocity) for recipe, s in zip(recipes, snr, strict=True)]
    return Shaped(tuple(recipe.loss_type for recipe in recipes), torch.stack(thresholds), torch.stack(weights))

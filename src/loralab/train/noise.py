"""Noise and timesteps as a recipe wants them: a replicate's plain draws in, one run's out.

Every knob draws from a stream of its own at (replicate, step), so that turning one changes no other's draws and no other arm's, and two
arms that turn the same knob see the same numbers. Timesteps go through the quantiles of the replicate's own uniform ones: an arm with
another distribution sees an early timestep where the others see an early one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from loralab.errors import lab_error
from loralab.seeds import seed_for
from loralab.spec.models import TrainSpec


@dataclass(frozen=True)
class Drawn:
    """One run's draws of one step: noise (B, C, h, w), timesteps (B,), and what of the noise the target does not know of."""

    noise: torch.Tensor
    timesteps: torch.Tensor
    perturbation: torch.Tensor | None = None


@dataclass(frozen=True)
class Place:
    """Where in the random streams a step stands."""

    root_seed: int
    replicate: int
    step: int

    def stream(self, knob: str, *inside: str) -> torch.Generator:
        """Return the generator of one knob at this step; ``inside`` names a part of it that draws for itself, such as a layer."""
        return torch.Generator().manual_seed(seed_for(self.root_seed, "train", knob, self.replicate, self.step, *inside))


def check_timesteps(spec: TrainSpec, n_timesteps: int, where: str) -> None:
    """Raise LabError("training") where a recipe asks for timesteps that the base does not have."""
    last = n_timesteps if spec.max_timestep is None else spec.max_timestep
    if last > n_timesteps or spec.min_timestep >= n_timesteps:
        found = f"timesteps from {spec.min_timestep} to {last}"
        raise lab_error("training", found, f"a range within the base's 0 to {n_timesteps}", "min_timestep, max_timestep", where)


def draw_for(spec: TrainSpec, plain: Drawn, n_timesteps: int, place: Place) -> Drawn:
    """Return the draws of a run under its recipe; ``plain`` are those of its replicate."""
    if spec.draws_plainly:
        return plain
    noise = plain.noise
    if spec.noise_offset:
        noise = offset_noise(noise, spec.noise_offset, place.stream("noise-offset"), random=spec.noise_offset_random)
    if spec.multires_noise_iterations:
        noise = multires_noise(noise, spec.multires_noise_iterations, spec.multires_noise_discount, place.stream("multires-noise"))
    perturbation = None
    if spec.ip_noise_gamma:
        perturbation = input_perturbation(noise, spec.ip_noise_gamma, place.stream("ip-noise"), random=spec.ip_noise_gamma_random)
    timesteps = sample_timesteps(spec, plain.timesteps, n_timesteps, place.stream("timesteps"))
    return Drawn(noise, timesteps, perturbation)


def offset_noise(noise: torch.Tensor, offset: float, stream: torch.Generator, *, random: bool = False) -> torch.Tensor:
    """Return ``noise`` (B, C, h, w) with one normal number a channel, times ``offset`` (or a share of it), added.

    Guttenberg 2023 ("Diffusion with offset noise"); sd-scripts library/custom_train_functions.py, apply_noise_offset.
    """
    size = float(torch.rand(1, generator=stream)) * offset if random else offset
    return noise + size * torch.randn((*noise.shape[:2], 1, 1), generator=stream)


def multires_noise(noise: torch.Tensor, iterations: int, discount: float, stream: torch.Generator) -> torch.Tensor:
    """Return ``noise`` with ever coarser noises added, each times ``discount`` more, scaled back to unit variance over the batch.

    Whitaker 2023 ("Multi-resolution noise"); sd-scripts library/custom_train_functions.py, pyramid_noise_like: level i has the size of
    the picture over r ** i, where r is drawn from 2 to 4 anew at each level.
    """
    size = noise.shape[-2:]
    for level in range(iterations):
        ratio = float(torch.rand(1, generator=stream)) * 2 + 2
        coarse = [max(1, int(side / ratio**level)) for side in size]
        drawn = torch.randn((*noise.shape[:2], *coarse), generator=stream)
        noise = noise + torch.nn.functional.interpolate(drawn, size=size, mode="bilinear") * discount**level
        if 1 in coarse:
            break
    return noise / noise.std()


def input_perturbation(noise: torch.Tensor, gamma: float, stream: torch.Generator, *, random: bool = False) -> torch.Tensor:
    """Return noise of size ``gamma`` (or a share of it) for the model's input alone.

    Ning et al. 2023 (arXiv:2301.11706); sd-scripts library/train_util.py, ip_noise_gamma.
    """
    size = float(torch.rand(1, generator=stream)) * gamma if random else gamma
    return size * torch.randn(noise.shape, generator=stream)


def sample_timesteps(spec: TrainSpec, uniform: torch.Tensor, n_timesteps: int, stream: torch.Generator) -> torch.Tensor:
    """Return timesteps (B,) of the recipe's range and distribution at the quantiles of ``uniform`` (B,), whole numbers below n_timesteps.

    sigmoid: sigmoid(scale * z) of a normal z; shift: s * u / (1 + (s - 1) * u) of that (Esser et al. 2024, arXiv:2403.03206, equation 23;
    sd-scripts library/flux_train_utils.py, timestep_sampling).
    """
    first, last = spec.min_timestep, n_timesteps if spec.max_timestep is None else spec.max_timestep
    if spec.timestep_sampling == "uniform" and last - first == n_timesteps:
        return uniform
    within = torch.rand(uniform.shape, generator=stream, dtype=torch.float64)
    share = (uniform + within).clamp(1e-9, n_timesteps - 1e-9) / n_timesteps
    if spec.timestep_sampling != "uniform":
        share = torch.sigmoid(torch.special.ndtri(share) * spec.sigmoid_scale)
    if spec.timestep_sampling == "shift":
        share = spec.timestep_shift * share / (1 + (spec.timestep_shift - 1) * share)
    return (first + share * (last - first)).floor().long().clamp(first, last - 1)

"""Random twins of trained adapters: as large a change of the predicted noise, in no direction that was learned.

In: trained adapters with the latents and embeddings that they were trained on. Out: adapters of the same shapes with random factors. Each
layer's random change gets the norm of the trained one's; then all are scaled together until the root mean square change of the
predicted noise, over fixed noisy latents of the training set, is the trained adapter's: equal norms of weights need not change a
prediction equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loralab.adapters import Adapter, AdapterStack
from loralab.adapters.folding import as_lora
from loralab.bases import Base, embed_tokens, noise_path, predict
from loralab.errors import lab_error

PROBES = 16
#: the twin's change may differ from the trained adapter's by this share.
TOLERANCE = 0.01
MOST_ROUNDS = 24


@dataclass(frozen=True)
class NullTwin:
    """A random adapter, and the root mean square change of the predicted noise that the trained one and the twin make."""

    adapter: Adapter
    trained_change: float
    change: float


@dataclass(frozen=True)
class _Probe:
    noisy: torch.Tensor  # (M, C, h, w)
    timesteps: torch.Tensor  # (M,)
    text: torch.Tensor  # embeddings (M, T, D), or tokens (M, T) where the text encoder is adapted too
    is_tokens: bool


@torch.no_grad()
def make_null_twins(
    base: Base, trained: Sequence[Adapter], latents: torch.Tensor, text: torch.Tensor, seeds: Sequence[int], *, is_tokens: bool = False
) -> list[NullTwin]:
    """Return a twin of each of ``trained``, drawn from its own seed.

    ``latents`` (N, C, h, w) and ``text`` of their arm: embeddings (N, T, D), or tokens (N, T) where the text encoder was trained too.
    Raises LabError("training") for an adapter that changes nothing, or whose twin cannot be made to change as much.
    """
    probe = _make_probe(base, latents, text, is_tokens)
    plain = _predict(base, probe)
    loras = [as_lora(adapter, base) for adapter in trained]
    return [_make_twin(base, adapter, probe, plain, seed) for adapter, seed in zip(loras, seeds, strict=True)]


def _make_probe(base: Base, latents: torch.Tensor, text: torch.Tensor, is_tokens: bool) -> _Probe:
    """Return fixed noisy latents: the training set in turn, timesteps spread evenly."""
    path = noise_path(base)
    which = torch.arange(PROBES) % len(latents)
    timesteps = ((torch.arange(PROBES) + 0.5) / PROBES * path.n_levels).long().to(base.device)
    noise = torch.randn((PROBES, *latents.shape[1:]), generator=torch.Generator().manual_seed(0)).to(base.device)
    noisy = path.noisy(latents[which].to(base.device), noise, timesteps)
    return _Probe(noisy, timesteps, text[which].to(base.device), is_tokens)


def _predict(base: Base, probe: _Probe) -> torch.Tensor:
    """Return the prediction (M, C, h, w) of the base as it stands, with whatever is attached to it."""
    text = embed_tokens(base, probe.text) if probe.is_tokens else probe.text
    return predict(base, probe.noisy, probe.timesteps, text)


def _change(base: Base, adapter: Adapter, strength: float, probe: _Probe, plain: torch.Tensor) -> float:
    """Return the root mean square change of the prediction that an adapter makes at a strength."""
    with AdapterStack(base, [adapter]).attached([strength]):
        return float((_predict(base, probe) - plain).square().mean().sqrt())


def _make_twin(base: Base, trained: Adapter, probe: _Probe, plain: torch.Tensor, seed: int) -> NullTwin:
    target = _change(base, trained, 1.0, probe, plain)
    if target == 0:
        raise lab_error("training", "a trained LoRA that changes no prediction", "a LoRA that changes something", "train longer")
    twin = _random_like(trained, seed)
    scale, found = 1.0, 0.0
    for _ in range(MOST_ROUNDS):
        found = _change(base, twin, scale, probe, plain)
        if abs(found - target) <= TOLERANCE * target:
            return NullTwin(_scaled(twin, scale), target, found)
        # nearly proportional while the change is small; damped, since a saturated prediction would overshoot
        scale *= min(4.0, max(0.25, target / found)) ** 0.8
    raise lab_error("training", f"a random twin that changes predictions by {found:.3g}", f"a change of {target:.3g}")


def _random_like(trained: Adapter, seed: int) -> Adapter:
    """Return random factors of the same shapes, each layer's product with the norm of the trained one's."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for path, (down, up) in trained.weights.items():
        new_down, new_up = (torch.randn(factor.shape, generator=generator) for factor in (down, up))
        norms = [float((u.flatten(1) @ d.flatten(1)).norm()) for d, u in ((down.cpu(), up.cpu()), (new_down, new_up))]
        weights[path] = (new_down.to(down.device), (new_up * (norms[0] / norms[1])).to(up.device))
    drawn = {name: torch.randn(values.shape, generator=generator) for name, values in trained.shifts.items()}
    shifts = {name: values * (float(trained.shifts[name].norm()) / float(values.norm())) for name, values in drawn.items()}
    return Adapter(weights, trained.alpha, trained.rank, shifts=shifts, scales=trained.scales)


def _scaled(adapter: Adapter, scale: float) -> Adapter:
    weights = {path: (down, up * scale) for path, (down, up) in adapter.weights.items()}
    return replace(adapter, weights=weights, shifts={name: values * scale for name, values in adapter.shifts.items()})

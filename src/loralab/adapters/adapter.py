"""One adapter in memory: pairs of low-rank factors by layer, with a rank and an alpha; or the tensors of another kind in training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Own:
    """What an adapter of another kind than LoRA is trained as: ``factors`` by layer and role, in the shapes that files of it have.

    ``alphas`` are those of files, by layer: the scale times what readers divide it by. A kind without a scale has none.
    """

    factors: Mapping[str, Mapping[str, torch.Tensor]]
    alphas: Mapping[str, float]


@dataclass(frozen=True)
class Adapter:
    """A LoRA: ``weights`` maps layer paths to (down (r, in[, k, k]), up (out, r[, 1, 1])), float32; delta W = scale * up @ down.

    ``shifts`` are differences of vectors, by "LAYER.bias" or "LAYER.weight" (normalisation layers), (n,) float32.
    ``rank`` is the largest r; a layer of lower rank has the same scale, alpha / rank, unless ``scales`` says another by its path.
    An adapter of another kind has no weights but its ``own``; `loralab.adapters.folding.as_lora` makes a LoRA of it.
    """

    weights: Mapping[str, Pair]
    alpha: float
    rank: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    shifts: Mapping[str, torch.Tensor] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    own: Own | None = None

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    def scale_of(self, path: str) -> float:
        """Return the scale of a layer."""
        return self.scales.get(path, self.scale)

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of the adapted layers."""
        return tuple(self.weights) if self.own is None else tuple(self.own.factors)


def scaled_lora(weights: Mapping[str, Pair], scales: Mapping[str, float], alpha: float) -> Adapter:
    """Return the LoRA of these factors; the layers of its highest rank have the scale alpha / rank, others that of ``scales``."""
    rank = max(len(down) for down, _ in weights.values())
    usual = next(scales[path] for path, (down, _) in weights.items() if len(down) == rank)
    return Adapter(weights, alpha, rank, scales={path: scale for path, scale in scales.items() if scale != usual})


def adapter_sha256(adapter: Adapter) -> str:
    """Return the sha256 (hex) over paths, shapes and values."""
    digest = hashlib.sha256(f"{adapter.alpha} {adapter.rank}".encode())
    for path, pair in sorted(adapter.weights.items()):
        for tensor in pair:
            _add(digest, path, tensor)
    for name, values in sorted(adapter.shifts.items()):
        _add(digest, name, values)
    for path, scale in sorted(adapter.scales.items()):
        digest.update(f"{path} {scale}".encode())
    for path, factors in sorted(adapter.own.factors.items() if adapter.own else ()):
        digest.update(f"{path} {adapter.own.alphas.get(path) if adapter.own else None}".encode())
        for role, tensor in sorted(factors.items()):
            _add(digest, role, tensor)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, tensor: torch.Tensor) -> None:
    digest.update(f"{name} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().contiguous().cpu().numpy().tobytes())

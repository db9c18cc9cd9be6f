"""The values of a stack in one tensor (K, P): the shapes of its factors in, views of them that can be trained out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch

from loralab.bases.parts import is_text

Shape = tuple[int, ...]


class FlatValues:
    """K rows of P values, all zero at first; ``leaves`` are views (K, *shape) of the tensors that lie in a row one behind the other.

    ``names`` are (layer path, role), in the order of ``leaves``.
    """

    def __init__(
        self, names: Sequence[tuple[str, str]], shapes: Sequence[Shape], n: int, device: torch.device, *, trainable: bool
    ) -> None:  # fmt: skip
        self.names = list(names)
        stops = list(itertools.accumulate(math.prod(shape) for shape in shapes))
        self.places = [slice(stop - math.prod(shape), stop) for stop, shape in zip(stops, shapes, strict=True)]
        self.flat = torch.zeros(n, stops[-1] if stops else 0, device=device)
        self.leaves = [
            self.flat[:, place].unflatten(1, shape).detach().requires_grad_(trainable)
            for place, shape in zip(self.places, shapes, strict=True)
        ]

    @property
    def text_columns(self) -> torch.Tensor:
        """Which of the P values belong to text encoders: (P,) bool."""
        return self.spread([is_text(path) for path, _ in self.names]).bool()

    @property
    def up_columns(self) -> torch.Tensor:
        """Which of the P values belong to `up` factors: (P,) bool."""
        return self.spread([role == "up" for _, role in self.names]).bool()

    def spread(self, numbers: Sequence[float]) -> torch.Tensor:
        """Return a number a tensor as one a value: (P,)."""
        counts = torch.tensor([place.stop - place.start for place in self.places])
        return torch.tensor(numbers).repeat_interleave(counts, output_size=self.flat.shape[1]).to(self.flat.device)

    def gradient(self, losses: torch.Tensor) -> torch.Tensor:
        """Return the gradient (K, P) of the sum of ``losses`` (K,), laid out as ``flat``.

        Every loss is differentiated with weight 1, so a NaN in one of them is not summed into the others.
        """
        found = torch.autograd.grad(losses, self.leaves, torch.ones_like(losses), allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.flatten(1) for gradient in found], dim=1)

"""Whether a found layer's tensors fit the base's layer, and its factors as that layer has them: names and shapes in, down and up out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F

from loralab.adapters.adapter import Pair
from loralab.adapters.formats import LOHA, PAIR, FoundLayer
from loralab.adapters.header import Entry, shown
from loralab.errors import LabError, lab_error

Shape = tuple[int, ...]


def check_shapes(path: Path, layer: FoundLayer, header: Mapping[str, Entry], weight: Shape) -> int:
    """Return the rank that a layer's LoRA will have; raises LabError("model") where its tensors do not fit the base's ``weight``.

    A rank above the layer's own size is no error: the product is factored again, exactly.
    """
    n_out, n_in = weight[0], math.prod(weight[1:])
    if layer.is_loha:
        shapes = {role: _flat(header[layer.tensors[role]].shape) for role in sorted(LOHA)}
        ranks = [shapes["w1_b"][0], shapes["w2_b"][0]]
        fits = shapes == {"w1_a": (n_out, ranks[0]), "w1_b": (ranks[0], n_in), "w2_a": (n_out, ranks[1]), "w2_b": (ranks[1], n_in)}
    else:
        shapes = {role: header[layer.tensors[role]].shape for role in sorted(PAIR)}
        ranks = [shapes["down"][0] if shapes["down"] else 0]
        fits = _is_pair(shapes["down"], shapes["up"], weight)
    if min(ranks) < 1:
        raise lab_error("model", f"{shown(path.name)}: {shown(layer.name)} has rank 0", "1 or more")
    if not fits:
        raise misfit(path, layer, shapes, weight)
    return min(math.prod(ranks), n_out, n_in)


def misfit(path: Path, layer: FoundLayer, shapes: Mapping[str, Shape], weight: Shape) -> LabError:
    """Return the error for a layer whose tensors belong to a layer of another size."""
    found = f"{shown(path.name)}: {shown(layer.name)} has {' and '.join(f'{role} {list(shape)}' for role, shape in shapes.items())}"
    return lab_error("model", found, f"factors of a layer of {list(weight)}", "was it trained on another base?")


def _is_pair(down: Shape, up: Shape, weight: Shape) -> bool:
    """Whether down (r, in[, k, k]) and up (out, r[, 1, 1]) belong to ``weight``; a 1x1 kernel may stand in a larger one's middle."""
    if len(down) < 2 or _squeezed(up) != (weight[0], down[0]):
        return False
    return _squeezed(down)[1:] == _squeezed(weight)[1:] or (_squeezed(down) == down[:2] and down[1] == weight[1] and _has_middle(weight))


def _has_middle(weight: Shape) -> bool:
    return len(weight) == 4 and all(side % 2 for side in weight[2:])


def _flat(shape: Shape) -> Shape:
    return (shape[0], math.prod(shape[1:])) if shape else (0, 0)


def _squeezed(shape: Shape) -> Shape:
    """Return ``shape`` without a 1x1 kernel: a pointwise convolution and a linear layer are the same product."""
    return shape[:2] if shape[2:] == (1, 1) else shape


# --- factors ----------------------------------------------------------------------------------------------------------------


def as_layer(pair: Pair, weight: Shape) -> Pair:
    """Return the factors in the shapes of the base's layer: down (R, in[, k, k]), up (out, R[, 1, 1]), R no more than it can have.

    A 1x1 kernel over a larger one (OneTrainer until 2024 trained 3x3 convolutions so) stands in the middle of zeros: with the layer's
    padding it reads the same pixel.
    """
    down, up = pair
    if down[0].numel() * math.prod(weight[2:]) == math.prod(weight[1:]) != down[0].numel():
        height, width = (side // 2 for side in weight[2:])
        down = F.pad(down.reshape(len(down), weight[1], 1, 1), (width, width, height, height))
    down, up = within_rank(down.flatten(1), up.flatten(1))
    return down.reshape(len(down), *weight[1:]), up.reshape(weight[0], len(down), *(1,) * (len(weight) - 2))


def within_rank(down: torch.Tensor, up: torch.Tensor) -> Pair:
    """Return factors of the same product, down (R, in) and up (out, R), with R at most the smaller of in and out.

    Where there are more, the product itself stands in one factor and the identity in the other.
    """
    if len(down) <= min(len(up), down.shape[1]):
        return down.float(), up.float()
    return factored(up.double() @ down.double())


def factored(product: torch.Tensor) -> Pair:
    """Return down (R, in) and up (out, R), float32, of a ``product`` (out, in): itself, and the identity on its shorter side."""
    n_out, n_in = product.shape
    if n_in <= n_out:
        return torch.eye(n_in), product.float()
    return product.float(), torch.eye(n_out)


def loha_pair(factors: Mapping[str, torch.Tensor]) -> Pair:
    """Return (down (R, in), up (out, R)) with up @ down = (w1_a @ w1_b) * (w2_a @ w2_b), exactly (Hyeon-Woo et al. 2022, FedPara).

    Column (i, j) of `up` is w1_a[:, i] * w2_a[:, j], row (i, j) of `down` likewise, unless r1 * r2 exceeds what the layer can have.
    """
    a1, b1, a2, b2 = (factors[role].flatten(1).double() for role in ("w1_a", "w1_b", "w2_a", "w2_b"))
    if len(b1) * len(b2) <= min(len(a1), b1.shape[1]):
        return (b1[:, None] * b2[None]).flatten(0, 1).float(), (a1[:, :, None] * a2[:, None]).flatten(1).float()
    return factored((a1 @ b1) * (a2 @ b2))

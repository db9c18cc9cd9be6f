"""Whether a found layer's tensors fit the base's layer, and its factors as that layer has them: names and shapes in, down and up out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F

from loralab.adapters.adapter import Pair
from loralab.adapters.formats import FoundLayer
from loralab.adapters.header import Entry, shown
from loralab.adapters.kinds import LOHA, factored, magnitude_fits
from loralab.errors import LabError, lab_error

Shape = tuple[int, ...]


def check_shapes(path: Path, layer: FoundLayer, header: Mapping[str, Entry], weight: Shape) -> int:
    """Return the rank that a layer's LoRA will have; raises LabError("model") where its tensors do not fit the base's ``weight``.

    A rank above the layer's own size is no error: the product is factored again, exactly.
    """
    shapes = {role: header[tensor].shape for role, tensor in sorted(layer.tensors.items()) if role != "alpha"}
    if 0 in (math.prod(shape) for shape in shapes.values()):
        raise lab_error("model", f"{shown(path.name)}: {shown(layer.name)} has a rank of 0", "1 or more")
    rank = _rank_of(layer, shapes, weight)
    if rank is None:
        raise misfit(path, layer, shapes, weight)
    return rank


def _rank_of(layer: FoundLayer, shapes: Mapping[str, Shape], weight: Shape) -> int | None:
    """Return the rank of a layer's change of a ``weight``; None where its tensors do not fit it."""
    n_out, n_in = weight[0], math.prod(weight[1:])
    dense = False
    for role, of_rows in (("magnitude", False), ("row_magnitude", True)):
        if role in shapes:
            dense = True
            if not magnitude_fits(shapes[role], weight, of_rows=of_rows):
                return None
    if "down" in shapes and "mid" not in shapes:
        return min(min(shapes["down"][:1], default=0) if not dense else n_out, n_out, n_in) if _is_pair(shapes, weight) else None
    if "w1_a" in shapes and "t1" not in shapes and not _is_loha(shapes, n_out, n_in):
        return None
    try:
        with torch.device("meta"):  # shapes alone: no memory is taken
            factors = {role: torch.empty(shape, dtype=torch.float64) for role, shape in shapes.items()}
            down, up = layer.kind.pair(factors, torch.empty(weight, dtype=torch.float64))
    except (RuntimeError, ValueError, IndexError):
        return None
    fits = tuple(up.shape) == (n_out, len(down)) and tuple(down.shape[1:]) == (n_in,)
    return min(n_out if dense else len(down), n_out, n_in) if fits else None


def misfit(path: Path, layer: FoundLayer, shapes: Mapping[str, Shape], weight: Shape) -> LabError:
    """Return the error for a layer whose tensors belong to a layer of another size."""
    found = f"{shown(path.name)}: {shown(layer.name)} has {' and '.join(f'{role} {list(shape)}' for role, shape in shapes.items())}"
    return lab_error("model", found, f"factors that fit a layer of shape {list(weight)}", "was it trained on another base?")


def _is_loha(shapes: Mapping[str, Shape], n_out: int, n_in: int) -> bool:
    found = {role: _flat(shapes[role]) for role in LOHA}
    one, two = found["w1_b"][0], found["w2_b"][0]
    return found == {"w1_a": (n_out, one), "w1_b": (one, n_in), "w2_a": (n_out, two), "w2_b": (two, n_in)}


def _is_pair(shapes: Mapping[str, Shape], weight: Shape) -> bool:
    """Whether down (r, in[, k, k]) and up (out, r[, 1, 1]) belong to ``weight``; a 1x1 kernel may stand in a larger one's middle."""
    down, up = shapes["down"], shapes["up"]
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
    down, up = factored(up.double() @ down.double())
    return down.float(), up.float()

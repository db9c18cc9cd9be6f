"""The limit on the norm of each layer's change (max norm regularisation): a stack behind a step in, its factors scaled down in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from loralab.adapters.kind_stack import KindStack
from loralab.adapters.stack import AdapterStack, StackedPair
from loralab.spec.models import TrainSpec


@torch.no_grad()
def limit_norms(stack: AdapterStack | KindStack, recipes: Sequence[TrainSpec]) -> None:
    """Scale down every layer whose change is longer than its recipe's ``scale_weight_norms``, both factors by the root of the ratio.

    sd-scripts networks/lora.py, apply_max_norm_regularization. The values of runs without a limit stay as they are.
    """
    rows = [k for k, recipe in enumerate(recipes) if recipe.scale_weight_norms is not None]
    if not rows or isinstance(stack, KindStack):
        return
    limits = stack.flat.new_tensor([recipes[k].scale_weight_norms for k in rows])
    for pair in stack.pairs:
        scales = stack.flat.new_tensor([recipes[k].scale_of(pair.ranks[k]) if pair.ranks[k] else 0.0 for k in rows])
        norms = (scales * change_norms(pair, rows)).clamp(min=1e-30)
        roots = (limits / norms).clamp(max=1.0).sqrt()
        for factor in (pair.down, pair.up):
            factor[rows] *= roots.reshape(-1, *(1,) * (factor.ndim - 1))


def change_norms(pair: StackedPair, rows: Sequence[int]) -> torch.Tensor:
    """Return the Frobenius norm of up @ down for the ``rows`` of a layer: the root of the trace of (up^T up)(down down^T)."""
    down, up = pair.down[rows].flatten(2).double(), pair.up[rows].double()
    return ((up.transpose(1, 2) @ up) * (down @ down.transpose(1, 2))).sum(dim=(1, 2)).clamp(min=0).sqrt().float()

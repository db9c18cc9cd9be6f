"""Which runs are trained together: recipes of the whole plan in, stacks of what they go by out."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import TypeVar

from loralab.spec.knobs import SEE_SHAPES
from loralab.spec.models import TrainSpec
from loralab.spec.network_knobs import HELD_STARTS

Name = TypeVar("Name", bound=Hashable)


def pack_runs(runs: Sequence[tuple[Name, TrainSpec]], max_stack: int, alone: Collection[Name] = ()) -> list[list[Name]]:
    """Return stacks of at most ``max_stack`` runs with equal shape signatures, in the order of the plan.

    Runs in ``alone`` get a stack each: on several resolutions, no two runs have the same one at the same step. A pure function of the
    whole plan, never of what is still to do: a resumed study groups as it did at first.
    """
    groups: dict[tuple[object, ...], list[list[Name]]] = {}
    order: list[list[Name]] = []
    for name, spec in runs:
        stacks = groups.setdefault((name,) if name in alone else shape_signature(spec), [])
        if not stacks or len(stacks[-1]) == max_stack:
            stacks.append([])
            order.append(stacks[-1])
        stacks[-1].append(name)
    return order


def shape_signature(spec: TrainSpec) -> tuple[object, ...]:
    """Return what must be equal for two runs to share a stack; alpha, rates, schedules, losses, noise, clipping and drops may differ.

    Ranks may differ too, but under optimisers whose arithmetic sees a layer's shape, and in other kinds of adapters than a plain LoRA. A
    training that preserves outputs sees two rows for each picture, so it stacks with its like.
    """
    ranks = (spec.rank, *sorted(spec.block_ranks.items()))
    seen = ranks if spec.optimiser in SEE_SHAPES else None
    kind = None if spec.is_plain_lora else (kind_signature(spec), ranks, _untrained(spec))
    return (spec.batch, spec.steps, spec.targets, spec.trains_text, spec.optimiser, seen, spec.preserves != "", kind)


def kind_signature(spec: TrainSpec) -> tuple[object, ...]:
    """Return what the tensors of an adapter, and the arithmetic over them, follow from beside its ranks; all plain LoRAs are alike."""
    lokr = (spec.lokr_factor, spec.lokr_full_matrix, spec.lokr_decompose_both)
    return () if spec.is_plain_lora else (spec.algo, spec.dora, spec.dora_norm_constant, spec.start in HELD_STARTS, lokr)


def _untrained(spec: TrainSpec) -> tuple[str, ...]:
    return tuple(sorted(block for block, factor in spec.block_lrs.items() if factor == 0))

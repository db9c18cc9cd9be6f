"""Whether a placebo is one: the same training on the base's own pictures, by the same recipe.

In: two recipes. Out: in what they differ, in a user's words. A placebo that was trained at another rate or for longer shows what another
training does, and is no control.
"""

from __future__ import annotations

from collections.abc import Mapping

from loralab.spec.keeping import KeepingKnobs
from loralab.spec.models import TrainSpec

#: what may differ: how often an arm is trained says nothing about one training of it; and what holds a training to its base only makes
#: its side effects smaller, so that a placebo without it is the stricter control.
MAY_DIFFER = frozenset({"replicates", "seed", *KeepingKnobs.model_fields})
_WORDS: Mapping[str, str] = {
    "lr": "learning rate", "batch": "pictures per step", "text_encoder_lr": "learning rate of the text encoder", "schedule": "schedule",
    "weight_decay": "weight decay", "max_grad_norm": "gradient clipping", "targets": "adapted layers", "warmup": "warm-up",
}  # fmt: skip


def recipe_differences(recipe: TrainSpec, placebo: TrainSpec) -> tuple[str, ...]:
    """Return all in which two resolved recipes differ, with both values, such as "learning rate (0.016 against 0.002)"; or nothing.

    An alpha that is left out is the rank, so writing it down is no difference; nor is what both recipes' kind of adapter ignores.
    """
    one, other = ({**spec.model_dump(mode="json"), "alpha": spec.rank if spec.alpha is None else spec.alpha} for spec in (recipe, placebo))
    may_differ = MAY_DIFFER | (recipe.idle & placebo.idle)
    differing = [name for name in one if name not in may_differ and one[name] != other[name]]
    return tuple(f"{_WORDS.get(name, name.replace('_', ' '))} ({_told(one[name])} against {_told(other[name])})" for name in differing)


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Optimisers over a stack of runs, one row a run: a name in a study file in, what takes steps out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loralab.spec.models import TrainSpec
from loralab.train.optimisers.adafactor import Adafactor
from loralab.train.optimisers.adam import AdamW, AdamW8bit, ScheduleFreeAdamW
from loralab.train.optimisers.base import Optimiser, Values
from loralab.train.optimisers.found_rate import DAdaptAdam, Prodigy
from loralab.train.optimisers.plain import SGD, Lion

__all__ = ["OPTIMISERS", "Optimiser", "Values", "make_optimiser"]

#: optimiser in a study file -> what takes its steps
OPTIMISERS: Mapping[str, type[Optimiser[Any]]] = {
    "adamw": AdamW, "adamw-8bit": AdamW8bit, "sgd": SGD, "lion": Lion, "adafactor": Adafactor, "prodigy": Prodigy,
    "dadapt-adam": DAdaptAdam, "schedule-free-adamw": ScheduleFreeAdamW,
}  # fmt: skip


def make_optimiser(values: Values, recipes: Sequence[TrainSpec]) -> Optimiser[Any]:
    """Return the optimiser of a stack whose recipes, one a run, share its class; `values.flat` begins as the adapters do."""
    return OPTIMISERS[recipes[0].optimiser](values, recipes)

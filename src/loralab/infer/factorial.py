"""Main effects and interactions of crossed settings, as weighted cells.

In: the levels of each arm of a family. Out: a weight for each arm. A main effect is the change from a factor's first level to its last, on
the least-squares line over their order, averaged over all combinations of the others; an interaction is how much one factor's effect
changes over the other's levels (Box, Hunter and Hunter 2005, chapter 5).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from loralab.infer.case import EffectCells
from loralab.spec.factorial import effect_factors
from loralab.spec.models import ClaimSpec, StudySpec
from loralab.spec.questions import QuestionId, question_ids, question_of


def trend_weights(n_levels: int) -> np.ndarray:
    """Return weights (n_levels,) under which the sum is the change from the first level to the last on the least-squares line.

    The line runs over the order of the levels, not their size, so that they may be spaced as one likes (as in Page 1963 and Abelson and
    Tukey 1963). The weights sum to 0: what all levels have in common cancels.
    """
    if n_levels < 2:
        return np.zeros(n_levels)
    place = np.arange(n_levels) - (n_levels - 1) / 2
    return np.asarray(place * (n_levels - 1) / (place**2).sum())


def levels_of(arms: Mapping[str, Mapping[str, Any]], factor: str) -> tuple[Any, ...]:
    """Return a factor's levels in the order in which the arms have them."""
    return tuple(dict.fromkeys(_key(levels[factor]) for levels in arms.values()))


def effect_weights(arms: Mapping[str, Mapping[str, Any]], factors: Sequence[str]) -> dict[str, float]:
    """Return the weight of each arm (by name; ``arms`` has its levels) in a main effect (one factor) or an interaction (several).

    Raises KeyError where an arm lacks a factor.
    """
    all_factors = list(next(iter(arms.values())))
    order = {factor: levels_of(arms, factor) for factor in all_factors}
    others = prod(len(order[factor]) for factor in all_factors if factor not in factors)
    weights = {factor: trend_weights(len(order[factor])) for factor in factors}
    return {
        name: float(prod(weights[factor][order[factor].index(_key(levels[factor]))] for factor in factors)) / others
        for name, levels in arms.items()
    }


def _key(level: Any) -> Hashable:
    return level if isinstance(level, Hashable) else str(level)


def effects_of(spec: StudySpec) -> Iterator[tuple[QuestionId, EffectCells]]:
    """Yield, for every claim about an effect, the cells of all combinations with their weights, at the claim's prompt and strength."""
    for question in question_ids(spec):
        claim = question_of(spec, question)
        if isinstance(claim, ClaimSpec) and claim.effect:
            yield question, effect_cells(spec, claim)


def effect_cells(spec: StudySpec, claim: ClaimSpec) -> EffectCells:
    """Return where the effect that a claim names is read."""
    family = spec.arms[str(claim.cell.arm)].family
    arms = {name: arm.levels for name, arm in spec.arms.items() if arm.family == family}
    factors = effect_factors(claim.effect)
    weights = effect_weights(arms, factors)
    cells = {name: claim.cell.on(name) for name in arms}
    says = f'{family} @ "{claim.cell.prompt}", {"effect of " if len(factors) == 1 else ""}{" x ".join(factors)}'
    by_level = {
        level: tuple(cells[name] for name, levels in arms.items() if levels[factors[0]] == level) for level in levels_of(arms, factors[0])
    }
    numbers = len(factors) == 1 and all(isinstance(level, int | float) and not isinstance(level, bool) for level in by_level)
    axis = tuple((float(level), by_level[level]) for level in sorted(by_level)) if numbers else ()
    return EffectCells(says, tuple(cells.values()), tuple(weights[name] for name in cells), factors[0] if numbers else "", axis)

"""Arms that cross settings: `factors: {rank: [2, 8], lr: [1e-3, 4e-3]}` in an arm spans one arm for each combination.

In: a study's values as they were read. Out: the same with the arms spanned, and with claims about an `effect` tied to two of them. What is
not well formed is left as it is, for the models to refuse.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from loralab.spec.recipes import TrainSpec

#: settings that may be crossed: those of a training, and the captions
CAPTIONS = "captions"
MOST_ARMS = 16
NOT_CROSSED = frozenset({"replicates", "seed"})
FACTORS = (CAPTIONS, *(name for name in TrainSpec.model_fields if name not in NOT_CROSSED))
_CELL = re.compile(r'^\s*(?:arm\s+)?(?P<arm>[a-z0-9][a-z0-9-]{0,40})(?P<rest>\s*@\s*"[^"\n]*".*)$', re.DOTALL)


def factors_problem(factors: Any) -> str | None:
    """Return what is wrong with an arm's `factors`; None where nothing is."""
    if not isinstance(factors, Mapping) or not factors:
        return "`factors` lists settings with their levels, such as {rank: [2, 8]}"
    for name, levels in factors.items():
        if name not in FACTORS:
            return f"{name!r} cannot be a factor; use one of {', '.join(FACTORS)}"
        if not isinstance(levels, list | tuple) or len(levels) < 2 or len({str(level) for level in levels}) < len(levels):
            return f"{name}: a factor needs at least two different levels"
    n_arms = 1
    for levels in factors.values():
        n_arms *= len(levels)
    return f"{n_arms} combinations; at most {MOST_ARMS} arms" if n_arms > MOST_ARMS else None


def effect_factors(effect: str) -> tuple[str, ...]:
    """Return the factors of an effect: `rank`, or of an interaction, `rank x lr`."""
    return tuple(part.strip() for part in re.split(r"\s+x\s+", effect.strip()))


def level_name(value: Any) -> str:
    """Return a level as it stands in an arm's name: 0.001 is 0-001."""
    return re.sub(r"[^a-z0-9]+", "-", f"{value:g}" if isinstance(value, float) else str(value).lower()).strip("-")


def spanned(study: Any) -> Any:
    """Return a study's values with every arm that has `factors` in the place of its combinations, and its claims tied to them."""
    arms = study.get("arms") if isinstance(study, Mapping) else None
    if not isinstance(arms, Mapping):
        return study
    families = {name: combinations(name, arm["factors"]) for name, arm in arms.items() if _is_crossed(arm)}
    if not families:
        return study
    wide: dict[str, Any] = {}
    for name, arm in arms.items():
        if name not in families:
            wide[name] = arm
        for own, levels in families.get(name, {}).items():
            wide[own] = _combined(name, arm, levels)
    return {**study, "arms": wide, "experiments": _tied(study.get("experiments"), families)}


def families_of(arms: Any) -> dict[str, str]:
    """Return which arm of the file spans each arm that `factors` make."""
    crossed = {name: arm["factors"] for name, arm in arms.items() if _is_crossed(arm)} if isinstance(arms, Mapping) else {}
    return {own: name for name, factors in crossed.items() for own in combinations(name, factors)}


def _is_crossed(arm: Any) -> bool:
    return isinstance(arm, Mapping) and "factors" in arm and factors_problem(arm["factors"]) is None


def combinations(name: str, factors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the levels of each combination by the name of its arm, the last factor turning fastest."""
    found = {}
    for number, levels in enumerate(itertools.product(*factors.values()), start=1):
        told = dict(zip(factors, levels, strict=True))
        full = "-".join(
            [name, *(f"{factor.replace('_', '-')}-{level_name(level)}" for factor, level in told.items() if factor != CAPTIONS)]
        )
        full += f"-captions-{list(factors[CAPTIONS]).index(told[CAPTIONS]) + 1}" if CAPTIONS in told else ""
        found[full if len(full) <= 41 else f"{name}-{number}"] = told
    return found


def _combined(family: str, arm: Mapping[str, Any], levels: Mapping[str, Any]) -> dict[str, Any]:
    """Return one combination as an arm: what differs goes into `train:` and `captions:`."""
    kept = {key: value for key, value in arm.items() if key != "factors"}
    recipe = {name: level for name, level in levels.items() if name != CAPTIONS}
    made = {**kept, "train": {**(arm.get("train") or {}), **recipe}, "family": family, "levels": dict(levels)}
    return made | ({"captions": levels[CAPTIONS]} if CAPTIONS in levels else {})


def _tied(experiments: Any, families: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Any:
    """Return experiments whose claims about an effect name two arms of the family: all factors at their last level, and at their first."""
    if not isinstance(experiments, Mapping):
        return experiments
    return {
        name: {**experiment, "claims": [_tied_claim(claim, families) for claim in experiment["claims"]]}
        if isinstance(experiment, Mapping) and isinstance(experiment.get("claims"), list | tuple)
        else experiment
        for name, experiment in experiments.items()
    }


def _tied_claim(claim: Any, families: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Any:
    found = _CELL.match(str(claim.get("cell", ""))) if isinstance(claim, Mapping) and claim.get("effect") else None
    if found is None or found["arm"] not in families:
        return claim
    arms = list(families[found["arm"]])
    return {**claim, "cell": f"{arms[-1]}{found['rest']}", "versus": f"{arms[0]}{found['rest']}"}

"""Arms on a base of their own: a study in; under which name the pictures of each arm's base stand, and claims that name them, out.

The study's base is called `base`. A base that arms name for themselves is called `base of ARM`, after the first of them.
"""

from __future__ import annotations

from loralab.spec.cells import BASE_ARM, OTHER_BASE, Cell, is_base
from loralab.spec.models import ClaimSpec, StudySpec


def base_arm_of(spec: StudySpec, arm: str) -> str:
    """Return the name of the base that ``arm`` is trained on, drawn on and compared with; a base is its own."""
    if is_base(arm):
        return arm
    own = spec.arms[arm].base
    if own is None or own == spec.base:
        return BASE_ARM
    return OTHER_BASE + next(name for name, other in spec.arms.items() if other.base == own)


def base_arms(spec: StudySpec) -> dict[str, str]:
    """Return the reference of every base of the study by its name, the study's own first."""
    others = {base_arm_of(spec, name): arm.base for name, arm in spec.arms.items() if arm.base is not None}
    return {BASE_ARM: spec.base} | {name: reference for name, reference in others.items() if name != BASE_ARM}


def with_own_bases(spec: StudySpec) -> StudySpec:
    """Return the study in which `base`, in a claim about an arm on another base, is that base."""
    if len(base_arms(spec)) == 1:
        return spec
    experiments = {
        name: experiment.model_copy(update={"claims": tuple(_on_own_base(spec, claim) for claim in experiment.claims)})
        for name, experiment in spec.experiments.items()
    }
    return spec.model_copy(update={"experiments": experiments})


def _on_own_base(spec: StudySpec, claim: ClaimSpec) -> ClaimSpec:
    sides = claim.cell, claim.versus_cell
    own = next((base_arm_of(spec, side.arm) for side in sides if not is_base(side.arm)), BASE_ARM)
    if own == BASE_ARM:
        return claim

    def named(side: Cell) -> Cell:
        return side.on(own) if side.arm == BASE_ARM else side

    return claim.model_copy(update={"cell": named(sides[0]), "versus": named(sides[1])})

"""Arms on a base of their own: which base each arm is trained, drawn and compared on.

An arm's LoRAs and pictures belong to its base, and what a claim says of `base` is said of the arm's own base at the same prompt and seeds.
"""

from __future__ import annotations

from loralab.spec.cells import Cell
from loralab.spec.models import ClaimSpec, StudySpec
from loralab.spec.sources import BASE, BaseSource, Who, is_base


def base_of(spec: StudySpec, who: Who) -> BaseSource:
    """Return the base that an arm is trained on, drawn on and compared with; a base is its own."""
    if is_base(who):
        return who
    own = spec.arms[str(who)].base
    if own is None or own == spec.base:
        return BASE
    return BaseSource(next(name for name, other in spec.arms.items() if other.base == own))


def bases_of(spec: StudySpec) -> dict[BaseSource, str]:
    """Return the reference of every base of the study, the study's own first; the others bear the name of the first arm that has them."""
    others = {base_of(spec, name): arm.base for name, arm in spec.arms.items() if arm.base is not None}
    return {BASE: spec.base} | {source: reference for source, reference in others.items() if source != BASE}


def with_own_bases(spec: StudySpec) -> StudySpec:
    """Return the study in which `base`, in a claim about an arm on another base, is that base."""
    if len(bases_of(spec)) == 1:
        return spec
    experiments = {
        name: experiment.model_copy(update={"claims": tuple(_on_own_base(spec, claim) for claim in experiment.claims)})
        for name, experiment in spec.experiments.items()
    }
    return spec.model_copy(update={"experiments": experiments})


def _on_own_base(spec: StudySpec, claim: ClaimSpec) -> ClaimSpec:
    sides = claim.cell, claim.versus_cell
    own = next((base_of(spec, side.arm) for side in sides if not side.is_base), BASE)
    if own == BASE:
        return claim

    def named(side: Cell) -> Cell:
        return side.on(own) if side.arm == BASE else side

    return claim.model_copy(update={"cell": named(sides[0]), "versus": named(sides[1])})

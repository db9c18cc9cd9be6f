"""What a plan says of single arms: a study and the arms that are drawn in; sentences out. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from loralab.spec import StudySpec
from loralab.spec.load import train_spec_of


def arm_notes(spec: StudySpec, arms: tuple[str, ...]) -> Iterator[str]:
    """Yield what is said of LoRAs that serve in all trainings of an arm, and of settings that do nothing."""
    yield from _stack_notes(spec, arms)
    yield from _idle_notes(spec, arms)


def _stack_notes(spec: StudySpec, arms: tuple[str, ...]) -> Iterator[str]:
    """Name the LoRAs that serve in all trainings of an arm of several: what is found is about these files."""
    for name in (name for name in arms if spec.arms[name].stack and train_spec_of(spec, spec.arms[name]).replicates > 1):
        once = [
            str(member) for member in spec.arms[name].stack if member.arm and train_spec_of(spec, spec.arms[member.arm]).replicates == 1
        ]
        once += [str(member) for member in spec.arms[name].stack if member.adapters and "*" not in member.adapters]
        if once:
            yield f"arm {name!r} uses the same {' and '.join(once)} in all its trainings, so the findings are about that one LoRA"


def _idle_notes(spec: StudySpec, arms: tuple[str, ...]) -> Iterator[str]:
    """Name the settings of an arm that its kind of adapter ignores: arms that differ in nothing else would be the same."""
    for name in (name for name in arms if spec.arms[name].trained_here and spec.arms[name].control != "null"):
        recipe = train_spec_of(spec, spec.arms[name])
        if idle := sorted(recipe.idle & recipe.model_fields_set):
            yield f"arm {name!r}: {' and '.join(idle)} {'have' if len(idle) > 1 else 'has'} no effect on {recipe.said}"

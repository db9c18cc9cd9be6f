"""Checks across the parts of a study: names, arms and data that others name, prompts, changed recipes, steps; findings with places out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from loralab.generators import TABLE, Generated, generator_of
from loralab.spec.cells import Cell
from loralab.spec.factorial import effect_factors
from loralab.spec.models import NAME, RESERVED_NAMES, ArmSpec, FolderData, ImagesOfData, StudySpec
from loralab.spec.own_bases import base_of
from loralab.spec.prompts import parse_prompt
from loralab.spec.tree import Location

NAME_RULE = "up to 41 lower-case letters, digits and dashes, and not a reserved name (con, nul, ...)"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and its place in the study as it was checked."""

    place: Location
    found: str
    expected: str = ""
    do: str = ""


@dataclass(frozen=True)
class Names:
    """What the file calls its data and arms, those included that could not be read: to name them is no mistake."""

    data: frozenset[str]
    arms: frozenset[str]


def find_mistakes(spec: StudySpec, names: Names) -> Iterator[Finding]:
    """Yield what is wrong between the parts of a study; what an unreadable entry would say is left alone."""
    yield from _name_findings(spec)
    yield from _arm_findings(spec, names)
    yield from _placebo_findings(spec)
    yield from _cell_findings(spec, names)
    yield from _effect_findings(spec)
    yield from _twin_findings(spec, names)
    yield from _prompt_findings(spec)


def _name_findings(spec: StudySpec) -> Iterator[Finding]:
    places: list[tuple[Location, str]] = [(("study",), spec.study)]
    places += [((part, name), name) for part in ("data", "arms", "experiments") for name in getattr(spec, part)]
    for place, name in places:
        if not NAME.match(name) or name in RESERVED_NAMES:
            yield Finding(place, f"{name!r} cannot be used as a name", NAME_RULE, "rename it")


def _arm_findings(spec: StudySpec, names: Names) -> Iterator[Finding]:
    for name, arm in spec.arms.items():
        yield from _stack_findings(spec, names, name, arm)
        data = spec.data.get(arm.data)
        if arm.data and names.data and arm.data not in {*names.data, *spec.data}:
            yield Finding(("arms", name, "data"), f"arm {name!r} uses unknown data {arm.data!r}", f"one of {', '.join(sorted(names.data))}")
        elif data is not None and arm.captions is None and not isinstance(data, FolderData):
            found = f"arm {name!r} has no captions, and generated data has none of its own"
            yield Finding(("arms", name, "captions"), found, '`captions: "..."`')
        elif data is not None and arm.control == "placebo" and not isinstance(data, ImagesOfData):
            found = f"arm {name!r} is marked as a placebo, but its data set is not the base's images"
            yield Finding(("arms", name, "control"), found, "a data set with `images_of: base`")
        yield from _regularisation_findings(spec, names, name, arm)
        if arm.control == "null":
            expected = "`null_of: [ARM]` in a preset, which adds a random twin of ARM"
            yield Finding(("arms", name, "control"), f"arm {name!r} is marked as null", expected)


def _regularisation_findings(spec: StudySpec, names: Names, name: str, arm: ArmSpec) -> Iterator[Finding]:
    reg, data = arm.regularisation, spec.data.get(arm.data)
    if reg is not None and names.data and reg.data not in {*names.data, *spec.data}:
        found = f"the regularisation pictures of arm {name!r} are the unknown data {reg.data!r}"
        yield Finding(("arms", name, "regularisation"), found, f"one of {', '.join(sorted(names.data))}")
    elif reg is not None and isinstance(data, FolderData) and (data.regularisation or data.is_file):
        found = f"arm {name!r} has `regularisation`, and its data {arm.data!r} may have some of its own"
        yield Finding(("arms", name, "regularisation"), found, "one of them", "remove either")
    if arm.showing.masks == "subject" and data is not None and not (isinstance(data, Generated) and generator_of(data).mask):
        masked = " or ".join(f"`generate: {kind}`" for kind, generator in TABLE.items() if generator.mask is not None)
        found = f"arm {name!r} masks all but the subject, but where the subject is in its data {arm.data!r} is not known"
        yield Finding(("arms", name, "showing", "masks"), found, f"data of the kind {masked}", "a folder has `masks: FOLDER` of its own")


def _stack_findings(spec: StudySpec, names: Names, name: str, arm: ArmSpec) -> Iterator[Finding]:
    trained = [other for other in spec.arms if not spec.arms[other].stack]
    unread = names.arms - spec.arms.keys()
    for index, member in enumerate(arm.stack):
        if member.arm is not None and member.arm not in {*trained, *unread}:
            expected = f"one of {', '.join(trained)}, or `adapters: PATH`"
            yield Finding(("arms", name, "stack", index), f"unknown LoRA {member.arm!r}", expected)
    bases = {spec.arms[member.arm].base for member in arm.stack if member.arm in spec.arms}
    if len(bases) > 1 and arm.base is None:
        yield Finding(("arms", name), f"arm {name!r} stacks LoRAs of several bases", "a `base:` that says which one to draw them on")


def _placebo_findings(spec: StudySpec) -> Iterator[Finding]:
    for own in dict.fromkeys(base_of(spec, name) for name in spec.arms):
        placebos = [name for name, arm in spec.arms.items() if arm.control == "placebo" and base_of(spec, name) == own]
        # arms of different recipes need a placebo each; of one recipe a second says nothing new
        twins = [name for i, name in enumerate(placebos) if any(spec.arms[name].train == spec.arms[other].train for other in placebos[:i])]
        if twins:
            found = f"two placebos: {', '.join(placebos)}"
            yield Finding(("arms", twins[0], "control"), found, "one placebo for each base and recipe (`train:` tells them apart)")


def _cell_findings(spec: StudySpec, names: Names) -> Iterator[Finding]:
    told: set[tuple[Location, str]] = set()
    for place, cell in claim_cells(spec):
        if not cell.is_base and names.arms and cell.arm not in names.arms and (place[:-1], str(cell.arm)) not in told:
            told.add((place[:-1], str(cell.arm)))  # `versus: base` repeats the cell
            yield Finding(place, f"unknown arm {cell.arm!r} in {cell}", f"one of base, {', '.join(sorted(names.arms))}")
        elif cell.is_base and (cell.strength != 1.0 or cell.step is not None):
            yield Finding(place, f"the base has no strength or step: {cell}", 'base @ "prompt"')


def _effect_findings(spec: StudySpec) -> Iterator[Finding]:
    for name, experiment in spec.experiments.items():
        for index, claim in enumerate(experiment.claims):
            arm = spec.arms.get(str(claim.cell.arm))
            unknown = [factor for factor in effect_factors(claim.effect) if factor not in arm.levels] if claim.effect and arm else []
            if arm is not None and unknown:
                found = f"the effect of {unknown[0]!r} is claimed for {claim.cell.arm}, whose factors are"
                found += f" {', '.join(arm.levels)}" if arm.levels else " none: the arm has no `factors`"
                yield Finding(("experiments", name, "claims", index, "effect"), found)


def _twin_findings(spec: StudySpec, names: Names) -> Iterator[Finding]:
    for name, preset in spec.presets.items():
        place: Location = ("presets", name, "null_of")
        for twin in preset.null_of:
            if names.arms and twin not in names.arms:
                yield Finding(place, f"unknown arm {twin!r}", f"one of {', '.join(sorted(names.arms))}")
            elif twin in spec.arms and spec.arms[twin].stack:
                found = f"{twin!r} consists of several LoRAs"
                yield Finding(place, found, "an arm of one LoRA", "give the arms it consists of")
            elif f"null-{twin}" in names.arms or not NAME.match(f"null-{twin}"):
                found = f"the random twin of {twin!r} would be called 'null-{twin}'"
                yield Finding(place, found, "a valid name that is not taken", "rename the arm")


def _prompt_findings(spec: StudySpec) -> Iterator[Finding]:
    """Check every text that will be drawn: what no tool would take as plain text is refused here, with its line."""
    texts: list[tuple[Location, str]] = [(place, cell.prompt) for place, cell in claim_cells(spec)]
    texts += [(("sample", "negative"), spec.sample.negative)]
    texts += [(("sample", "unrelated", index), prompt) for index, prompt in enumerate(spec.sample.unrelated)]
    for name, data in spec.data.items():
        if isinstance(data, ImagesOfData):
            texts += [(("data", name, "prompts", index), prompt) for index, prompt in enumerate(data.prompts)]
    seen: set[str] = set()
    for place, text in texts:
        try:
            parse_prompt(text)
        except ValueError as error:
            if text not in seen:
                yield Finding(place, str(error))
            seen.add(text)


def claim_cells(spec: StudySpec) -> Iterator[tuple[Location, Cell]]:
    """Yield every cell that the study names, with its place in the file."""
    for name, experiment in spec.experiments.items():
        for index, claim in enumerate(experiment.claims):
            yield ("experiments", name, "claims", index, "cell"), claim.cell
            yield ("experiments", name, "claims", index, "versus"), claim.versus_cell
        for index, curve in enumerate(experiment.curves):
            yield ("experiments", name, "curves", index, "cell"), curve.cell
        for index, cell in enumerate(experiment.show):
            yield ("experiments", name, "show", index), cell


def step_findings(spec: StudySpec, steps_of: Mapping[str, int]) -> Iterator[Finding]:
    """Check the steps that cells and curves name against the recipes as they will be trained; ``steps_of`` each arm."""
    for place, cell in claim_cells(spec):
        if cell.step is None or cell.is_base or cell.arm not in steps_of:
            continue
        arm, steps = spec.arms[str(cell.arm)], steps_of[str(cell.arm)]
        if not arm.trained_here:
            why = "several LoRAs are applied together" if arm.stack else "it was trained elsewhere"
            yield Finding(place, f"{cell}, but {why}", "a cell without `step`", "an arm for each epoch's files")
        elif not 1 <= cell.step < steps:
            expected = f"a step from 1 to {steps - 1}; leave `step` out for the end"
            yield Finding(place, f"{cell}, but the training has {steps} steps", expected)
    for name, experiment in spec.experiments.items():
        for index, curve in enumerate(experiment.curves):
            place = ("experiments", name, "curves", index, "at")
            if curve.over != "step" or curve.cell.arm not in steps_of:
                continue
            if not spec.arms[str(curve.cell.arm)].trained_here:
                yield Finding(place, f"a curve over the steps of {curve.cell.arm!r}, which is not trained here", "a curve over strength")
            elif max(curve.at, default=0) > steps_of[str(curve.cell.arm)]:
                steps = steps_of[str(curve.cell.arm)]
                yield Finding(place, f"step {max(curve.at):g}, but the training has {steps} steps", f"steps up to {steps}")


Changes = Sequence[tuple[Location, BaseModel, dict[str, Any]]]


def changes_of(spec: StudySpec) -> Changes:
    """Return the partial recipes of arms and presets, each with its place and the recipe that it changes."""
    found: list[tuple[Location, BaseModel, dict[str, Any]]] = []
    found += [(("arms", name, "train"), spec.train, arm.train) for name, arm in spec.arms.items()]
    for name, preset in spec.presets.items():
        found += [(("presets", name, "train"), spec.train, preset.train), (("presets", name, "sample"), spec.sample, preset.sample)]
    return found


def change_errors(recipe: BaseModel, changes: dict[str, Any]) -> ValidationError | None:
    """Return what is wrong with a recipe once ``changes`` are made; None where nothing is."""
    try:
        type(recipe).model_validate({**recipe.model_dump(exclude_unset=True), **changes})
    except ValidationError as error:
        return error
    return None

"""Reads a study file: YAML text in, a checked StudySpec out; every mistake is reported with its line, all of them together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase, CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from loralab.errors import LabError, Problem, lab_error
from loralab.spec.cells import BASE_ARM, Cell, is_base
from loralab.spec.elsewhere import adapter_files
from loralab.spec.models import (
    NAME,
    RESERVED_NAMES,
    ArmSpec,
    ExperimentSpec,
    ImagesOfData,
    LoadSpec,
    PresetSpec,
    SampleSpec,
    StudySpec,
    TrainSpec,
)
from loralab.spec.own_bases import base_arm_of, with_own_bases
from loralab.spec.prompts import parse_prompt
from loralab.spec.questions import fingerprints

Location = tuple[str | int, ...]
DATA_KINDS = frozenset({"shapes", "grids", "images_of", "folder"})
MAX_STUDY_BYTES = 1 << 20
#: where and in how much memory the work is done: no part of the question
WHERE_ONLY = ("device", "memory_gib", "gradient_checkpointing", "side_by_side")
Model = TypeVar("Model", TrainSpec, SampleSpec)


@dataclass(frozen=True)
class Loaded:
    """A checked study, the text that it came from, and the folder that relative paths refer to.

    ``questions`` are the fingerprints of all claims and curves of the file, whatever the preset.
    """

    spec: StudySpec
    text: str
    folder: Path
    preset: str | None
    questions: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # what the command line changed of the question, as it stood there
    file: str = ""  # its path as it was given; of an absolute one the name alone

    @property
    def sha256(self) -> str:
        """Hash of the resolved study (the preset applied), not of its comments or layout."""
        content = self.spec.model_dump(mode="json", exclude={"presets": True, "load": set(WHERE_ONLY)})
        # what a study says nothing of leaves it the hash that it had before it could be said
        if content["load"] == LoadSpec().model_dump(mode="json", exclude=set(WHERE_ONLY)):
            del content["load"]
        for experiment in content["experiments"].values():
            if not experiment["curves"]:
                del experiment["curves"]
        for arm in content["arms"].values():
            for later in ("stack", "base", "trigger"):
                if not arm[later]:
                    del arm[later]
        resolved = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(resolved.encode()).hexdigest()


def load_study(path: Path, preset: str | None = None) -> Loaded:
    """Return the study in the file at ``path`` with ``preset`` applied; raises LabError("spec") that lists every problem."""
    text = _read_text(path)
    tree = _parse_yaml(text, path.name)
    spec = with_origins(_validated(StudySpec, tree, tree, path.name))
    problems = [*_name_problems(spec), *_reference_problems(spec), *_prompt_problems(spec), *_override_problems(spec)]
    if preset is not None and preset not in spec.presets:
        problems.append((("presets",), f"the study has no preset {preset!r}", f"one of {', '.join(spec.presets) or '(none)'}", ""))
    if problems:
        raise LabError(
            "spec", [Problem(found, expected, do, _where(tree, location, path.name)) for location, found, expected, do in problems]
        )
    resolved = with_own_bases(_with_files(apply_preset(spec, preset), path.resolve().parent, tree, path.name))
    late = [] if preset is not None and not spec.presets[preset].verdicts else list(_step_problems(resolved))  # type: ignore[index]
    if late:
        raise LabError("spec", [Problem(found, expected, do, _where(tree, where, path.name)) for where, found, expected, do in late])
    given = path.name if path.is_absolute() else path.as_posix()
    return Loaded(resolved, text, path.resolve().parent, preset, fingerprints(spec), file=given)


def shipped_file(name: str) -> Path | None:
    """Return the path of the study of this name that ships with the package, or of the repository's; None where there is none."""
    package = Path(__file__).parents[1]
    found = (folder / f"{name}.yaml" for folder in (package / "studies", package.parents[1] / "studies"))
    return next((file for file in found if file.is_file()), None)


def run_name(loaded: Loaded) -> str:
    """Return by what `loralab run` finds this study again: its name where it ships, else the path that was given."""
    shipped = shipped_file(loaded.spec.study)
    same = shipped is not None and shipped.read_text(encoding="utf-8") == loaded.text
    return loaded.spec.study if same or not loaded.file else loaded.file


def _with_files(spec: StudySpec, folder: Path, tree: CommentedMap, name: str) -> StudySpec:
    """Return the study in which each arm of files from elsewhere, or of several LoRAs, has as many replicates as there are of them."""
    arms, problems = dict(spec.arms), []
    for counted, key in ((_file_count, "adapters"), (_stack_count, "stack")):  # what an arm of files has, a stack may ask for
        for arm_name, arm in spec.arms.items():
            if not getattr(arm, key):
                continue
            try:
                arms[arm_name] = arm.model_copy(update={"train": {"replicates": counted(spec, arms, arm, folder)}})
            except ValueError as error:
                problems.append(Problem(str(error), where=_where(tree, ("arms", arm_name, key), name)))
        if problems:
            raise LabError("spec", problems)
    return spec.model_copy(update={"arms": arms})


def _file_count(spec: StudySpec, arms: Mapping[str, ArmSpec], arm: ArmSpec, folder: Path) -> int:
    files = adapter_files(arm.adapters or "", folder)
    if arm.train:
        raise ValueError("an arm of files from elsewhere is not trained here: leave `train` out")
    return len(files)


def _stack_count(spec: StudySpec, arms: Mapping[str, ArmSpec], arm: ArmSpec, folder: Path) -> int:
    """Return how many trainings an arm of several LoRAs has: as many as each of them, where one may serve in all."""
    counts = {
        str(lora): merged(spec.train, arms[lora.arm].train).replicates if lora.arm else len(adapter_files(lora.adapters or "", folder))
        for lora in arm.stack
    }  # fmt: skip
    most = max(counts.values())
    if any(n not in (1, most) for n in counts.values()):
        listed = "; ".join(f"{name}: {n}" for name, n in counts.items())
        raise ValueError(f"the LoRAs were not trained equally often ({listed}); as many files as trainings, or one file for all of them")
    return most


def with_origins(spec: StudySpec) -> StudySpec:
    """Return the study in which an arm of several LoRAs has data, captions and base of the first that is an arm, where it says none."""
    arms = dict(spec.arms)
    for name, arm in spec.arms.items():
        first = next((spec.arms[member.arm] for member in arm.stack if member.arm in spec.arms), None)
        if first is None or first.stack:
            continue
        told = {} if arm.data else {"data": first.data, "captions": arm.captions or first.captions}
        bases = {spec.arms[member.arm].base for member in arm.stack if member.arm in spec.arms}
        told |= {"base": first.base} if arm.base is None and len(bases) == 1 else {}
        arms[name] = arm.model_copy(update=told)
    return spec.model_copy(update={"arms": arms})


def apply_preset(spec: StudySpec, preset: str | None) -> StudySpec:
    """Return the study with the preset's changes to `train` and `sample` made, and each curve at the preset's doses."""
    experiments = {name: _with_doses(experiment, preset) for name, experiment in spec.experiments.items()}
    if preset is None:
        return spec.model_copy(update={"experiments": experiments})
    chosen = spec.presets[preset]  # type: ignore[index]  # checked by the caller
    changed = {"train": merged(spec.train, chosen.train), "sample": merged(spec.sample, chosen.sample)}
    twins = {f"null-{arm}": spec.arms[arm].model_copy(update={"control": "null"}) for arm in chosen.null_of}
    return spec.model_copy(update={**changed, "experiments": experiments, "arms": {**spec.arms, **twins}})


def _with_doses(experiment: ExperimentSpec, preset: str | None) -> ExperimentSpec:
    curves = tuple(curve.model_copy(update={"at": curve.doses(preset), "more": {}}) for curve in experiment.curves)
    return experiment.model_copy(update={"curves": curves})


def merged(recipe: Model, changes: dict[str, Any]) -> Model:
    """Return ``recipe`` with ``changes``, checked again."""
    return type(recipe).model_validate({**recipe.model_dump(exclude_unset=True), **changes})


def overruled_load(load: LoadSpec, device: str | None, precision: str | None) -> LoadSpec:
    """Return how a base is held with what the command line says on top; raises LabError("spec") with the choices."""
    changes = {name: value for name, value in (("device", device), ("precision", precision)) if value is not None}
    try:
        return LoadSpec.model_validate(load.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        found = " ".join(f"--{name} {value}" for name, value in changes.items())
        raise lab_error("spec", found, "cpu, cuda or cuda:N; and fp32, bf16 or fp16") from error


def held_as(loaded: Loaded, device: str | None, precision: str | None = None) -> Loaded:
    """Return the study with its base on ``device`` and in ``precision``; None leaves either as the study says.

    The device is no part of the question; the precision is, since pictures and LoRAs differ with it. Raises LabError("spec").
    """
    if device is None and precision is None:
        return loaded
    load = overruled_load(loaded.spec.load, device, precision)
    options = () if precision is None else ("--precision", precision)
    return replace(loaded, spec=loaded.spec.model_copy(update={"load": load}), options=options)


def train_spec_of(spec: StudySpec, arm: ArmSpec) -> TrainSpec:
    """Return the recipe of one arm: the study's (preset applied) with the arm's own changes on top."""
    return merged(spec.train, arm.train)


def preset_of(loaded: Loaded) -> PresetSpec:
    """Return the preset that was chosen; without one, the study file's own budget with the whole error rate."""
    return loaded.spec.presets[loaded.preset] if loaded.preset else PresetSpec()  # type: ignore[index]


# --- YAML --------------------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    if not path.is_file():
        near = sorted(found.name for found in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise lab_error(
            "spec", f"no study file at {path}", "the path of a .yaml file", f"study files there: {', '.join(near)}" if near else ""
        )
    if path.stat().st_size > MAX_STUDY_BYTES:
        raise lab_error("spec", f"{path.name} is larger than 1 MiB", "a study file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise lab_error(
            "spec", f"{path.name} is not UTF-8 text ({error.reason} at byte {error.start})", "a YAML study file in UTF-8"
        ) from error


def _parse_yaml(text: str, name: str) -> CommentedMap:
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        where = f"{name}, line {line}" if line else name
        raise lab_error("spec", f"not valid YAML: {str(error.problem or error).strip()}", where=where) from error
    if not isinstance(tree, CommentedMap):
        raise lab_error("spec", "the file holds no `key: value` pairs", "a study; the shortest is in the README", where=name)
    return tree


def _validated(model: type[StudySpec], value: Any, tree: CommentedMap, name: str) -> StudySpec:
    try:
        return model.model_validate(_plain(value))
    except ValidationError as error:
        raise LabError("spec", [_problem(item, tree, name) for item in error.errors()]) from error


def _plain(value: Any) -> Any:
    """Return ruamel's round-trip containers and scalars as plain Python values."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _problem(item: Any, tree: CommentedMap, name: str) -> Problem:
    location = tuple(part for part in item["loc"] if part not in DATA_KINDS and part != "function-after")
    where = _where(tree, location, name)
    if item["type"] == "extra_forbidden":
        siblings = _known_keys(location[:-1])
        return Problem(f"unknown key {location[-1]!r}", f"one of {', '.join(siblings)}" if siblings else "", "check the spelling", where)
    if item["type"] == "missing":
        return Problem(f"`{location[-1]}` is missing in {_dotted(location[:-1])}", "this key", where=where)
    message = item["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(item["input"], dict | list) else f" (found {item['input']!r})"
    return Problem(f"{_dotted(location)}: {message}{shown}", where=where)


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location) or "the study"


def _known_keys(parent: Location) -> list[str]:
    """Return the keys that the model at ``parent`` knows, so that a typing error can be seen beside them."""
    from loralab.spec import models

    match parent:
        case ():
            return list(StudySpec.model_fields)
        case ("train",) | ("arms", _, "train"):
            return list(TrainSpec.model_fields)
        case ("load",):
            return list(LoadSpec.model_fields)
        case ("sample",):
            return list(SampleSpec.model_fields)
        case ("arms", _, "stack", _):
            return list(models.StackedLora.model_fields)
        case ("arms", _):
            return list(ArmSpec.model_fields)
        case ("presets", _):
            return list(PresetSpec.model_fields)
        case ("experiments", _):
            return list(models.ExperimentSpec.model_fields)
        case ("experiments", _, "claims", _):
            return list(models.ClaimSpec.model_fields)
        case ("experiments", _, "curves", _):
            return list(models.CurveSpec.model_fields)
        case ("data", _):
            kinds = (models.ShapesData, models.GridsData, models.ImagesOfData, models.FolderData)
            return sorted({field for kind in kinds for field in kind.model_fields})
    return []


def _where(tree: CommentedBase, location: Location, name: str) -> str:
    """Return "file, line N" of the deepest part of ``location`` that stands in the file."""
    line, node = 1, tree
    for part in location:
        if not isinstance(node, CommentedMap | CommentedSeq):
            break
        try:
            line = (node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part))[0] + 1
            node = node[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return f"{name}, line {line}"


# --- checks across parts ------------------------------------------------------------------------------------------------

Finding = tuple[Location, str, str, str]


def _name_problems(spec: StudySpec) -> Iterator[Finding]:
    names: list[tuple[Location, str]] = [(("study",), spec.study)]
    names += [((part, name), name) for part in ("data", "arms", "experiments") for name in getattr(spec, part)]
    for location, name in names:
        if not NAME.match(name) or name in RESERVED_NAMES or (location[0] == "arms" and name == BASE_ARM):
            rule = "lower-case letters, digits and dashes, at most 41, not a reserved name (base, con, nul, ...)"
            yield location, f"{name!r} cannot be a name", rule, "rename it"


def _reference_problems(spec: StudySpec) -> Iterator[Finding]:
    for name, arm in spec.arms.items():
        yield from _stack_problems(spec, name, arm)
        if arm.data not in spec.data:
            yield ("arms", name, "data"), f"arm {name!r} uses unknown data {arm.data!r}", f"one of {', '.join(spec.data)}", ""
        elif arm.captions is None and "folder" not in spec.data[arm.data].model_fields_set:
            yield ("arms", name), f"arm {name!r} has no captions, and generated data has none of its own", '`captions: "..."`', ""
        elif arm.control == "placebo" and not isinstance(spec.data[arm.data], ImagesOfData):
            yield (
                ("arms", name, "control"),
                f"arm {name!r} is marked as placebo but its data are not the base's images",
                "data with `images_of: base`",
                "",
            )
    for name in (name for name, arm in spec.arms.items() if arm.control == "null"):
        yield ("arms", name, "control"), f"arm {name!r} is marked as null", "`null_of: [ARM]` in a preset, which makes the arm", ""
    for own in dict.fromkeys(base_arm_of(spec, name) for name in spec.arms):
        placebos = [name for name, arm in spec.arms.items() if arm.control == "placebo" and base_arm_of(spec, name) == own]
        if len(placebos) > 1:
            yield ("arms", placebos[1], "control"), f"two placebos: {', '.join(placebos)}", "one placebo of a base", ""
    for location, cell in claim_cells(spec):
        if cell.arm != BASE_ARM and cell.arm not in spec.arms:
            yield location, f"unknown arm {cell.arm!r} in {cell}", f"one of base, {', '.join(spec.arms)}", ""
        elif cell.arm == BASE_ARM and (cell.strength != 1.0 or cell.step is not None):
            yield location, f"the base has no strength and no step: {cell}", 'base @ "prompt"', ""
    for name, preset in spec.presets.items():
        for twin in preset.null_of:
            place = ("presets", name, "null_of")
            if twin not in spec.arms:
                yield place, f"unknown arm {twin!r}", f"one of {', '.join(spec.arms)}", ""
            elif spec.arms[twin].stack:
                yield place, f"{twin!r} applies several LoRAs together", "an arm of one LoRA", "name the arms that it is made of"
            elif f"null-{twin}" in spec.arms or not NAME.match(f"null-{twin}"):
                yield place, f"the twin of {twin!r} would be called 'null-{twin}'", "a free, valid name", "rename the arm"


def _stack_problems(spec: StudySpec, name: str, arm: ArmSpec) -> Iterator[Finding]:
    trained = [other for other, its in spec.arms.items() if not its.stack]
    for index, member in enumerate(arm.stack):
        if member.arm is not None and member.arm not in trained:
            yield ("arms", name, "stack", index), f"unknown LoRA {member.arm!r}", f"one of {', '.join(trained)}, or `adapters: PATH`", ""
    bases = {spec.arms[member.arm].base for member in arm.stack if member.arm in spec.arms}
    if len(bases) > 1 and arm.base is None:
        yield ("arms", name), f"arm {name!r} stacks LoRAs of several bases", "`base:` that says on which they are drawn", ""


def _step_problems(spec: StudySpec) -> Iterator[Finding]:
    """Check the steps that cells and curves name against the recipes as they will be trained, the preset applied."""
    for location, cell in claim_cells(spec):
        steps = train_spec_of(spec, spec.arms[cell.arm]).steps if not is_base(cell.arm) else 0
        if cell.step is not None and not spec.arms[cell.arm].trained_here:
            where = "several LoRAs are applied together" if spec.arms[cell.arm].stack else "the training was elsewhere"
            yield location, f"{cell}, where {where}", "a cell without `step`", "an arm for each epoch's files"
        elif cell.step is not None and not 1 <= cell.step < steps:
            expected = f"a step from 1 to {steps - 1}; the end is meant without `step`"
            yield location, f"{cell}, where the training has {steps} steps", expected, ""
    for name, experiment in spec.experiments.items():
        for index, curve in enumerate(experiment.curves):
            steps = train_spec_of(spec, spec.arms[curve.cell.arm]).steps
            place = ("experiments", name, "curves", index, "at")
            if curve.over == "step" and not spec.arms[curve.cell.arm].trained_here:
                yield place, f"a curve over the steps of {curve.cell.arm!r}, which is not trained here", "a curve over strength", ""
            elif curve.over == "step" and max(curve.at, default=0) > steps:
                yield place, f"step {max(curve.at):g}, where the training has {steps} steps", f"steps up to {steps}", ""


def _prompt_problems(spec: StudySpec) -> Iterator[Finding]:
    """Check every text that will be drawn: what no tool would take as plain text is refused here, with its line."""
    texts: list[tuple[Location, str]] = [(location, cell.prompt) for location, cell in claim_cells(spec)]
    texts += [(("sample", "negative"), spec.sample.negative)]
    texts += [(("sample", "unrelated", index), prompt) for index, prompt in enumerate(spec.sample.unrelated)]
    for name, data in spec.data.items():
        if isinstance(data, ImagesOfData):
            texts += [(("data", name, "prompts", index), prompt) for index, prompt in enumerate(data.prompts)]
    seen: set[str] = set()
    for location, text in texts:
        try:
            parse_prompt(text)
        except ValueError as error:
            if text not in seen:
                yield location, str(error), "", ""
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


def _override_problems(spec: StudySpec) -> Iterator[Finding]:
    """Check the partial recipes of arms and presets as they will be used: on top of the study's own."""
    for name, arm in spec.arms.items():
        yield from _merge_problems(spec.train, arm.train, ("arms", name, "train"))
    for name, preset in spec.presets.items():
        yield from _merge_problems(spec.train, preset.train, ("presets", name, "train"))
        yield from _merge_problems(spec.sample, preset.sample, ("presets", name, "sample"))


def _merge_problems(recipe: TrainSpec | SampleSpec, changes: dict[str, Any], location: Location) -> Sequence[Finding]:
    try:
        type(recipe).model_validate({**recipe.model_dump(exclude_unset=True), **changes})
    except ValidationError as error:
        known = ", ".join(type(recipe).model_fields)
        return [
            ((*location, *item["loc"]), f"unknown key {item['loc'][-1]!r}", f"one of {known}", "check the spelling")
            if item["type"] == "extra_forbidden"
            else ((*location, *item["loc"]), f"{_dotted((*location, *item['loc']))}: {item['msg']} (found {item['input']!r})", "", "")
            for item in error.errors()
        ]
    return []

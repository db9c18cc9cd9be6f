"""Reads a study file: YAML text in, a checked StudySpec out; every mistake is reported with its line, all of them together."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap

from loralab.errors import LabError, Problem, lab_error
from loralab.spec.draft import STAND_IN, Rest, read_draft
from loralab.spec.elsewhere import adapter_files
from loralab.spec.mistakes import problem_of
from loralab.spec.models import ArmSpec, ExperimentSpec, LoadSpec, PresetSpec, SampleSpec, StudySpec, TrainSpec
from loralab.spec.own_bases import with_own_bases
from loralab.spec.questions import QuestionId, fingerprints
from loralab.spec.references import Names, change_errors, changes_of, find_mistakes, step_findings
from loralab.spec.slices import slice_of
from loralab.spec.tree import Location, parse_yaml, plain, read_text, where
from loralab.spec.variants import variant_text

Model = TypeVar("Model", TrainSpec, SampleSpec)
#: the folder of the studies of what people believe
ATLAS = "atlas"


@dataclass(frozen=True)
class Loaded:
    """A checked study, the text that it came from, and the folder that relative paths refer to.

    ``questions`` are the fingerprints of all claims and curves of the file, whatever the preset.
    """

    spec: StudySpec
    text: str
    folder: Path
    preset: str | None
    questions: Mapping[QuestionId, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()  # what the command line changed of the question, as it stood there
    file: str = ""  # its path as it was given; of an absolute one the name alone

    @property
    def sha256(self) -> str:
        """Hash of the resolved study (the preset applied), not of its comments or layout."""
        resolved = json.dumps(slice_of(self.spec), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(resolved.encode()).hexdigest()


@dataclass
class Draft:
    """A study as far as it could be read, and everything that is wrong with it so far.

    ``spec`` is what can be checked further (None where too little is left); ``loaded`` is there where nothing is wrong.
    """

    spec: StudySpec | None
    folder: Path
    file: str
    problems: list[Problem]
    tree: CommentedMap
    loaded: Loaded | None = None
    rest: Rest = field(default_factory=lambda: Rest({}))

    def where(self, location: Location) -> str:
        """Return "file, line N" of a place of ``spec``."""
        return where(self.tree, self.rest.place(location), self.file)

    def add(self, location: Location, found: str, expected: str = "", do: str = "") -> None:
        """Add a problem at a place of ``spec``, unless something refused was taken out there: that has been told."""
        if self.rest.caused(self.rest.place(location)):
            return
        self.problems.append(Problem(found, expected, do, self.where(location)))

    def finished(self) -> Loaded:
        """Return the study; raises LabError("spec") that lists every problem in the order of the file's lines."""
        if self.problems or self.loaded is None:
            raise LabError("spec", sorted(dict.fromkeys(self.problems), key=lambda problem: _line_in(problem.where)))
        return self.loaded


def _line_in(where: str) -> int:
    found = re.search(r", line (\d+)", where)
    return int(found[1]) if found else 0


def load_study(path: Path, preset: str | None = None) -> Loaded:
    """Return the study in the file at ``path`` with ``preset`` applied; raises LabError("spec") that lists every problem.

    What other packages know (instruments, folders of pictures, bases) is not looked at here: `loralab.preflight` does.
    """
    return draft_study(path, preset).finished()


def draft_study(path: Path, preset: str | None = None, *, base: str | None = None, twice: bool = False) -> Draft:
    """Return the study in the file with what is wrong in its text, its names and its numbers; on another ``base``, or as asked ``twice``.

    Raises LabError("spec") where there is no file, or none that can be read as YAML.
    """
    text = variant_text(read_text(path), path.name, base=base, twice=twice)
    draft = draft_text(text, path.resolve().parent, preset, name=path.name, given=_given(path))
    if draft.loaded is not None and (base is not None or twice):
        told = () if base is None else ("--base", Path(base).name if Path(base).is_absolute() else base)
        draft.loaded = replace(draft.loaded, options=(*(("--twice",) if twice else ()), *told))
    return draft


def _given(path: Path) -> str:
    """Return by what a study is told on the command line: its name where it ships, else its path, but never a folder of this machine."""
    for folder in study_folders():
        if path.is_absolute() and path.is_relative_to(folder):
            return path.relative_to(folder).with_suffix("").as_posix()
    return path.name if path.is_absolute() else path.as_posix()


def draft_text(text: str, folder: Path, preset: str | None = None, *, name: str = "study.yaml", given: str = "") -> Draft:
    """Return the study that ``text`` says, as `draft_study` does; relative paths in it are relative to ``folder``.

    ``name`` is what problems call the text, ``given`` the path by which it is run again, where it has one.
    """
    tree, problems = parse_yaml(text, name)
    spec, refused, rest = read_draft(tree, name)
    draft = Draft(spec, folder, name, [*problems, *refused], tree, rest=rest)
    if spec is None:
        return draft
    families = {arm.family for arm in spec.arms.values()}
    names = Names(_names_of(tree, "data"), _names_of(tree, "arms") - families | spec.arms.keys() - {STAND_IN})
    for finding in find_mistakes(with_origins(spec), names):
        draft.add(finding.place, finding.found, finding.expected, finding.do)
    draft.spec = spec = with_origins(_with_sound_changes(draft, spec))
    if preset is not None and preset not in spec.presets:
        draft.add(("presets",), f"the study has no preset {preset!r}", f"one of {', '.join(spec.presets) or '(none)'}")
        preset = None
    draft.spec = resolved = _with_files(draft, apply_preset(spec, preset))
    if (preset is None or spec.presets[preset].verdicts) and not rest.caused(("train",)):  # type: ignore[index]
        steps = {name: train_spec_of(resolved, arm).steps for name, arm in resolved.arms.items()}
        for finding in step_findings(resolved, steps):
            draft.add(finding.place, finding.found, finding.expected, finding.do)
    if not draft.problems:
        draft.spec = resolved = with_own_bases(resolved)
        draft.loaded = Loaded(resolved, text, draft.folder, preset, fingerprints(spec), file=given)
    return draft


def _names_of(tree: CommentedMap, part: str) -> frozenset[str]:
    entries = tree.get(part)
    return frozenset(map(str, entries)) if isinstance(entries, dict) else frozenset()


def _with_sound_changes(draft: Draft, spec: StudySpec) -> StudySpec:
    """Return the study without the changed recipes that cannot be, each of which becomes a problem, and without unknown twins."""
    arms, presets = dict(spec.arms), {name: _known_twins(preset, spec) for name, preset in spec.presets.items()}
    for place, recipe, changes in changes_of(spec):
        error = change_errors(recipe, changes)
        if error is None:
            continue
        for item in error.errors():
            item["loc"] = (*place, *item["loc"])
            draft.problems.append(problem_of([item], draft.tree, draft.rest.place(item["loc"]), draft.file))
        part, name, key = place
        if part == "arms":
            arms[str(name)] = arms[str(name)].model_copy(update={"train": {}})
        else:
            presets[name] = presets[name].model_copy(update={str(key): {}})  # type: ignore[index]
    return spec.model_copy(update={"arms": arms, "presets": presets})


def shipped_file(name: str) -> Path | None:
    """Return the path of the study of this name that ships with the package, or of the repository's; None where there is none.

    The atlas' studies are `atlas/NN-name`, or by the names that they have in a lab, `atlas-NN-name`.
    """
    inside = re.sub(rf"^{ATLAS}[-/]", f"{ATLAS}/", name)
    if not re.fullmatch(rf"({ATLAS}/)?[a-z0-9][a-z0-9-]*", inside):
        return None
    found = (folder / f"{inside}.yaml" for folder in study_folders())
    return next((file for file in found if file.is_file()), None)


def study_folders() -> tuple[Path, Path]:
    """Return where studies that ship may be: in the package, and in the repository that it is run from."""
    package = Path(__file__).parents[1]
    return package / "studies", package.parents[1] / "studies"


def run_name(loaded: Loaded) -> str:
    """Return by what `loralab run` finds this study again: its name where it ships, else the path that was given."""
    shipped = shipped_file(loaded.spec.study)
    same = shipped is not None and shipped.read_text(encoding="utf-8") == loaded.text
    return loaded.spec.study if same or not loaded.file else loaded.file


def _with_files(draft: Draft, spec: StudySpec) -> StudySpec:
    """Return the study in which each arm of files from elsewhere, or of several LoRAs, has as many replicates as there are of them."""
    arms = dict(spec.arms)
    for counted, key in ((_file_count, "adapters"), (_stack_count, "stack")):  # what an arm of files has, a stack may ask for
        for arm_name, arm in spec.arms.items():
            if not getattr(arm, key):
                continue
            try:
                arms[arm_name] = arm.model_copy(update={"train": {"replicates": counted(spec, arms, arm, draft.folder)}})
            except ValueError as error:
                draft.add(("arms", arm_name, key), f"arm {arm_name!r}: {error}")
                arms[arm_name] = arm.model_copy(update={"train": {}})
    return spec.model_copy(update={"arms": arms})


def _file_count(spec: StudySpec, arms: Mapping[str, ArmSpec], arm: ArmSpec, folder: Path) -> int:
    files = adapter_files(arm.adapters or "", folder)
    if arm.train:
        raise ValueError("an arm of existing LoRA files is not trained here: remove `train`")
    return len(files)


def _stack_count(spec: StudySpec, arms: Mapping[str, ArmSpec], arm: ArmSpec, folder: Path) -> int:
    """Return how many trainings an arm of several LoRAs has: as many as each of them, where one may serve in all."""
    counts = {
        str(lora): merged(spec.train, arms[lora.arm].train).replicates if lora.arm else len(adapter_files(lora.adapters or "", folder))
        for lora in arm.stack
        if lora.arm is None or lora.arm in arms
    }  # fmt: skip
    most = max(counts.values(), default=1)
    if any(n not in (1, most) for n in counts.values()):
        listed = "; ".join(f"{name}: {n}" for name, n in counts.items())
        raise ValueError(
            f"the LoRAs do not have the same number of trainings ({listed}); give as many files as there are trainings, "
            "or one file for all of them"
        )
    return most


def _known_twins(preset: PresetSpec, spec: StudySpec) -> PresetSpec:
    return preset.model_copy(update={"null_of": tuple(arm for arm in preset.null_of if arm in spec.arms)})


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


def resolved_again(text: str, preset: str | None, recipes: Mapping[str, dict[str, Any]], load: LoadSpec) -> StudySpec:
    """Return the study that was resolved from ``text`` before: ``recipes`` are what its arms changed, counted files included.

    Asks for no file beside it, so that a finished study can be read where only its lab is left.
    """
    tree, _ = parse_yaml(text, "study.yaml")
    resolved = apply_preset(with_origins(StudySpec.model_validate(plain(tree, "study.yaml"))), preset)
    arms = {name: arm.model_copy(update={"train": recipes[name]}) for name, arm in resolved.arms.items()}
    return with_own_bases(resolved.model_copy(update={"arms": arms, "load": load}))


def overruled_load(load: LoadSpec, device: str | None, precision: str | None) -> LoadSpec:
    """Return how a base is held with what the command line says on top; raises LabError("spec") with the choices."""
    changes = {name: value for name, value in (("device", device), ("precision", precision)) if value is not None}
    try:
        return LoadSpec.model_validate(load.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        found = " ".join(f"--{name} {value}" for name, value in changes.items())
        raise lab_error("spec", found, "cpu, cuda, cuda:N, mps, xpu or xpu:N; and fp32, bf16 or fp16") from error


def held_as(loaded: Loaded, device: str | None, precision: str | None = None) -> Loaded:
    """Return the study with its base on ``device`` and in ``precision``; None leaves either as the study says.

    The device is no part of the question; the precision is, since pictures and LoRAs differ with it. Raises LabError("spec").
    """
    if device is None and precision is None:
        return loaded
    load = overruled_load(loaded.spec.load, device, precision)
    options = () if precision is None else ("--precision", precision)
    return replace(loaded, spec=loaded.spec.model_copy(update={"load": load}), options=(*loaded.options, *options))


def train_spec_of(spec: StudySpec, arm: ArmSpec) -> TrainSpec:
    """Return the recipe of one arm: the study's (preset applied) with the arm's own changes on top."""
    return merged(spec.train, arm.train | ({} if arm.seed is None else {"seed": arm.seed}))


def preset_of(loaded: Loaded) -> PresetSpec:
    """Return the preset that was chosen; without one, the study file's own budget with the whole error rate."""
    return loaded.spec.presets[loaded.preset] if loaded.preset else PresetSpec()  # type: ignore[index]

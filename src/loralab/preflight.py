"""Everything that can be wrong with a study before anything is drawn: a study file in, the study out, or all its mistakes at once.

What the file itself says is checked by `spec`; here are its instruments, its folders and pictures, its captions' placeholders, its LoRA
files and its bases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from loralab.adapters.header import read_header
from loralab.data import Example, caption_for, draw_caption, read_dataset
from loralab.data.content import folder_path
from loralab.data.prepared import subset_of
from loralab.errors import LabError, Problem
from loralab.generators import generator_of
from loralab.spec import ArmSpec, FolderData, ImagesOfData, StudySpec
from loralab.spec.datasets import CaptionSpec, SubsetSpec
from loralab.spec.elsewhere import adapter_files, named_path
from loralab.spec.load import Draft, Loaded, draft_study
from loralab.spec.mistakes import place_words
from loralab.spec.tree import Location
from loralab.study.measures import ahead_problem, measure_problem
from loralab.study.triggers import preservation_problem, recipe_of

#: in place of pictures that are drawn later: their factors are known before
NOTHING = np.zeros((1, 1, 3), np.uint8)


def checked_study(path: Path, preset: str | None = None, *, base: str | None = None, twice: bool = False) -> Loaded:
    """Return the study in the file at ``path``; raises LabError("spec") that lists every mistake with its line, all of them together.

    Every picture of every folder is decoded and every LoRA file's header is read; bases are looked for, not loaded. ``base`` takes the
    place of the study's, ``twice`` asks it as its `twice:` says.
    """
    return checked(draft_study(path, preset, base=base, twice=twice))


def checked(draft: Draft) -> Loaded:
    """Return the study of a draft, behind looking at all that its text names."""
    if draft.spec is not None:
        _check_instruments(draft, draft.spec)
        _check_ahead(draft, draft.spec)
        examples = {name: _read_data(draft, draft.spec, name) for name in draft.spec.data}
        _check_captions(draft, draft.spec, examples)
        _check_preservation(draft, draft.spec, examples)
        _check_adapters(draft, draft.spec)
        _check_bases(draft, draft.spec)
    return draft.finished()


def _check_instruments(draft: Draft, spec: StudySpec) -> None:
    for place, measure in _measures(spec):
        problem = measure_problem(measure, spec.base)
        if problem is not None:
            draft.add(place, f"{place_words(draft.tree, draft.rest.place(place[:-1]))}: {problem.found}", problem.expected, problem.do)


def _check_ahead(draft: Draft, spec: StudySpec) -> None:
    for name, experiment in spec.experiments.items():
        for index, claim in enumerate(experiment.claims):
            known = claim.ahead_of and all(measure_problem(each, spec.base) is None for each in (claim.measure, claim.ahead_of))
            if known and (problem := ahead_problem(claim)) is not None:
                draft.add(("experiments", name, "claims", index, "ahead_of"), problem.found, problem.expected, problem.do)


def _measures(spec: StudySpec) -> Iterator[tuple[Location, str]]:
    """Yield every instrument that a claim or curve names, with its place."""
    for name, experiment in spec.experiments.items():
        for index, claim in enumerate(experiment.claims):
            yield ("experiments", name, "claims", index, "measure"), claim.measure
            if claim.ahead_of:
                yield ("experiments", name, "claims", index, "ahead_of"), claim.ahead_of
        for index, curve in enumerate(experiment.curves):
            yield ("experiments", name, "curves", index, "measure"), curve.measure
            yield ("experiments", name, "curves", index, "damage"), curve.damage


def _read_data(draft: Draft, spec: StudySpec, name: str) -> Sequence[Example]:
    """Return the pictures of one data set as far as they matter to captions: their factors; what cannot be read is added to the draft."""
    data = spec.data[name]
    if isinstance(data, ImagesOfData):
        return [Example(NOTHING, prompt, {"prompt": prompt}, "base") for prompt in data.drawn_prompts]
    if not isinstance(data, FolderData):
        generator = generator_of(data)
        return [Example(NOTHING, generator.caption.format_map(factors), factors, "generated") for factors in generator.factors(data)]
    found: list[Example] = []
    for place, read in _folders(data, name, draft.folder):
        try:
            found += read()
        except LabError as error:
            draft.problems += [_beneath(problem, draft.where(place), f"data {name}") for problem in error.problems]
    return found


def _folders(data: FolderData, name: str, beside: Path) -> Iterator[tuple[Location, Callable[[], Sequence[Example]]]]:
    """Yield how each folder of a data set is read, with its place in the study."""
    path = folder_path(data, beside)
    if data.is_file:
        yield ("data", name, "folder"), lambda: read_dataset(path, lambda _: _speck).examples
        return
    masks = {"conditioning_data_dir": str((beside / data.masks).resolve()) if data.masks else ""}
    yield ("data", name, "folder"), lambda: _read_folder(path, subset_of(data, path.name).model_copy(update=masks))
    if data.regularisation:
        reg = (beside / data.regularisation).resolve()
        yield ("data", name, "regularisation"), lambda: _read_folder(reg, subset_of(data, reg.name, is_reg=True))[:0]


def _read_folder(path: Path, options: SubsetSpec) -> Sequence[Example]:
    return read_dataset(path, lambda _: _speck, options).examples


def _speck(picture: Image.Image) -> Image.Image:
    return picture.resize((1, 1))


def _beneath(problem: Problem, where: str, words: str) -> Problem:
    """Return a problem of a folder under the line that names the folder."""
    inside = f"{words}, {problem.where}: " if problem.where else f"{words}: "
    return Problem(inside + problem.found, problem.expected, problem.do, where)


def _check_captions(draft: Draft, spec: StudySpec, examples: dict[str, Sequence[Example]]) -> None:
    """Fill every caption template with every picture's factors: what the template asks for, some picture may lack."""
    for name, arm in spec.arms.items():
        _check_template(draft, name, ("captions",), arm.captions, examples.get(arm.data, ()))
        if (reg := arm.regularisation) is not None:
            _check_template(draft, name, ("regularisation", "captions"), reg.captions, examples.get(reg.data, ()))


def _check_template(draft: Draft, arm: str, place: Location, template: str | None, examples: Sequence[Example]) -> None:
    told = set[str]()
    for example in examples if template is not None else ():
        try:
            caption_for(template or "", example)
        except LabError as error:
            problem = error.problems[0]
            if problem.found not in told:
                told.add(problem.found)
                draft.add(("arms", arm, *place), f"arm {arm!r}: {problem.found}", problem.expected, problem.do)


def _check_preservation(draft: Draft, spec: StudySpec, examples: dict[str, Sequence[Example]]) -> None:
    """Look whether the class word of each arm that preserves one has a place in all of its captions."""
    for name, arm in spec.arms.items():
        if not arm.trained_here or arm.control == "null":
            continue
        recipe, pictures = recipe_of(spec, arm), examples.get(arm.data, ())
        problem = preservation_problem(recipe, _captions(spec, arm, pictures))
        if problem is not None:
            found, expected, do = problem
            draft.add(("arms", name), f"arm {name!r}: {found}", expected, do)
        masked = arm.showing.masks == "subject" or any(picture.mask is not None for picture in pictures)
        if recipe.masked_prior_preservation_weight and pictures and not masked:
            found = f"arm {name!r}: masked_prior_preservation_weight, but none of its pictures has a mask"
            draft.add(("arms", name), found, "masks: `masks: FOLDER` or `alpha_mask: true` of a folder, `showing: {masks: subject}`")


def _captions(spec: StudySpec, arm: ArmSpec, examples: Sequence[Example]) -> list[str]:
    """Return an arm's captions as they are shown at least, as far as they can be filled."""
    data, found = spec.data.get(arm.data), list[str]()
    options = subset_of(data, "x").captions() if isinstance(data, FolderData) and not data.is_file else CaptionSpec()
    whole = CaptionSpec(**{key: getattr(options, key) for key in ("trigger", "caption_prefix", "caption_suffix")})
    for example in examples:
        try:
            caption = example.caption if arm.captions is None else caption_for(arm.captions, example)
        except LabError:  # told with the template
            continue
        found.append(draw_caption(caption, whole, epoch=1, seed=0))
    return found


def _check_adapters(draft: Draft, spec: StudySpec) -> None:
    """Read the header of every LoRA file that the study names."""
    patterns: list[tuple[Location, str]] = [(("arms", name, "adapters"), arm.adapters) for name, arm in spec.arms.items() if arm.adapters]
    for name, arm in spec.arms.items():
        patterns += [(("arms", name, "stack", i, "adapters"), lora.adapters) for i, lora in enumerate(arm.stack) if lora.adapters]
    for place, pattern in patterns:
        try:
            files = adapter_files(pattern, draft.folder)
        except ValueError:  # told when the files were counted
            continue
        for file in files:
            try:
                read_header(file.resolve())  # a link that the study names is followed
            except LabError as error:
                draft.problems += [_beneath(problem, draft.where(place), f"arm {place[1]}") for problem in error.problems]


def _check_bases(draft: Draft, spec: StudySpec) -> None:
    references: list[tuple[Location, str]] = [(("base",), spec.base)]
    references += [(("arms", name, "base"), arm.base) for name, arm in spec.arms.items() if arm.base is not None]
    told = set[str]()
    for place, reference in references:
        beside = named_path(reference, draft.folder)
        path = beside if beside.exists() else named_path(reference, Path())
        if reference == "petri" or reference in told or path.is_file() or (path / "model_index.json").is_file():
            continue
        told.add(reference)
        found = f"the base {reference!r} is a folder without model_index.json" if path.is_dir() else f"there is no base at {reference!r}"
        expected = "`petri`, or the path of a diffusers folder or of a .safetensors checkpoint"
        draft.add(place, found, expected, "a relative path is looked up next to the study file first, then in the current folder")

"""What the files of a check are to one another: one file, moments of one training, seeds of one recipe, or just files."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from loralab.adapters.header import read_header
from loralab.checking.listing import Listed, list_files
from loralab.checking.order import Mark, Place, is_one_training, mark_of, moment_of, places_of
from loralab.checking.recipes import FIELDS, differing, fields_of, one_sided, recipe_of, seed_of, training_name
from loralab.errors import LabError, Problem, lab_error

Role = Literal["file", "epochs", "seeds", "files"]

#: names that a tool gives to every LoRA: the folder says more
NAMELESS = ("pytorch_lora_weights", "adapter_model", "lora", "model", "adapter", "diffusion_pytorch_model", "last", "final")


@dataclass(frozen=True)
class CheckedFile:
    """One LoRA file with its place among the others; ``label`` is what the page calls it, and no other file's."""

    path: Path
    label: str
    order: float
    metadata: Mapping[str, str]
    at: float | None = None  # its steps (or epochs), where known
    recipe: Mapping[str, str] = field(default_factory=dict)
    named: bool = True
    layout: str = ""  # hash of the tensors' names and shapes: files of one training share it


class Found(NamedTuple):
    """The files in order, what they are to one another, and what a reader should know about how that was told."""

    role: Role
    files: list[CheckedFile]
    notes: tuple[str, ...] = ()
    differences: Mapping[str, Sequence[str | None]] = {}


def find_files(paths: Sequence[Path], order: str = "") -> Found:
    """Return what lies at ``paths`` (files, folders, patterns) and how it belongs together; ``order`` is the user's word for it.

    Raises LabError("model") where nothing is found, or where a file that was named is no safetensors file.
    """
    listed, passed_over = list_files(paths)
    files, unreadable = read_files(listed)
    found = relate(files, order)
    return found._replace(notes=(*passed_over, *unreadable, *found.notes))


def read_files(listed: Sequence[Listed]) -> tuple[list[CheckedFile], list[str]]:
    """Return the files with what their headers say, and a note for each that could not be read although it lies in the folder.

    Raises LabError("model") with the problems of all named files, or where no file is left.
    """
    files, problems, passed_over = [], list[Problem](), list[Problem]()
    for item in listed:
        try:
            header, metadata, _ = read_header(item.path.resolve())  # links that leave a folder were refused before
        except LabError as error:
            (problems if item.named else passed_over).extend(placed(item.path, error))
            continue
        shapes = repr(sorted((name, entry.shape) for name, entry in header.items()))
        layout = hashlib.sha256(shapes.encode()).hexdigest()
        files.append(CheckedFile(item.path, item.path.stem, 0, metadata, None, recipe_of(metadata), item.named, layout))
    if problems or not files:
        raise LabError("model", problems or passed_over)
    return files, [passed(problem) for problem in passed_over]


def placed(path: Path, error: LabError) -> list[Problem]:
    """Return the problems of a file with the folder that it lies in: many LoRAs share a name."""
    return [replace(problem, where=problem.where or path.parent.name) for problem in error.problems]


def passed(problem: Problem) -> str:
    """Return the note about a file that was passed over."""
    return f"Skipped: {problem.where}: {problem.found}."


def relate(files: Sequence[CheckedFile], order: str = "") -> Found:
    """Return the files in order with labels of their own, and what they are to one another.

    Moments of one training: the same recipe and name, and a known order. Seeds: everything that makes the recipe agrees and each has a
    seed of its own. Everything else is files, held side by side.
    """
    if order:
        return Found("epochs", labelled(_as_ordered(files, order)))
    if len(files) == 1:
        return Found("file", labelled([replace(files[0], label=_own_name(files[0]))]))
    seeds = [seed_of(file.path.stem, file.metadata) for file in files]
    recipes, marks = [file.recipe for file in files], [mark_of(file.path) for file in files]
    is_one_layout = len({file.layout for file in files}) == 1
    if is_one_layout and _are_seeds(files, seeds, recipes, marks):
        return Found("seeds", _by_seed(files, seeds))
    places, why = places_of(marks, [moment_of(file.metadata) for file in files])
    apart = differing(recipes, FIELDS)
    is_one_seed = len({seed for seed in seeds if seed is not None}) <= 1
    if is_one_layout and not apart and is_one_seed and _is_one_training(files, marks) and places:
        return Found("epochs", _by_place(files, places), (why,) if why else ())
    notes = (_order_unknown(why),) if is_one_layout and not apart else ()
    return Found("files", _side_by_side(files), notes, differing(recipes, fields_of(recipes)))


def _order_unknown(why: str) -> str:
    why = why or "Neither names nor metadata say that the files are epochs of one training, or in which order they were saved."
    return f"{why} They are compared side by side; if they are epochs of one training, give their order: --order FIRST,SECOND,..."


def _are_seeds(
    files: Sequence[CheckedFile], seeds: Sequence[int | None], recipes: Sequence[Mapping[str, str]], marks: Sequence[Mark]
) -> bool:
    if None in seeds or len(set(seeds)) < len(files):
        return False
    wanted = fields_of(recipes)
    names = {_training_name(file, seed) for file, seed in zip(files, seeds, strict=True)}
    moments = {(mark.kind, mark.number) for mark in marks}
    return len(names) == 1 and len(moments) == 1 and not differing(recipes, wanted) and not one_sided(recipes, wanted)


def _training_name(file: CheckedFile, seed: int | None) -> str:
    if "loralab.arm" in file.metadata:
        return f"{file.metadata.get('loralab.study')}/{file.metadata['loralab.arm']}"
    named = file.metadata.get("ss_output_name")
    mark = mark_of(file.path)
    return training_name(named or (mark.training if mark.number is not None else file.path.stem), seed)


def _is_one_training(files: Sequence[CheckedFile], marks: Sequence[Mark]) -> bool:
    names = [training_name(name, None) if (name := file.metadata.get("ss_output_name")) else None for file in files]
    return is_one_training(marks, names, [file.metadata.get("ss_session_id") for file in files])


def _by_seed(files: Sequence[CheckedFile], seeds: Sequence[int | None]) -> list[CheckedFile]:
    found = [replace(file, label=f"seed {seed}", order=float(seed or 0)) for file, seed in zip(files, seeds, strict=True)]
    return labelled(sorted(found, key=lambda file: (file.order, file.path.name)))


def _by_place(files: Sequence[CheckedFile], places: Sequence[Place]) -> list[CheckedFile]:
    in_order = sorted(zip(files, places, strict=True), key=lambda pair: pair[1].key)
    return labelled([replace(file, label=place.label, order=k, at=place.at) for k, (file, place) in enumerate(in_order)])


def _side_by_side(files: Sequence[CheckedFile]) -> list[CheckedFile]:
    return labelled([replace(file, label=_own_name(file), order=k) for k, file in enumerate(files)])


def _own_name(file: CheckedFile) -> str:
    stem = file.path.stem
    return file.path.absolute().parent.name if stem.lower() in NAMELESS and file.path.absolute().parent.name else stem


def _as_ordered(files: Sequence[CheckedFile], order: str) -> list[CheckedFile]:
    """Return the files in the order that the user wrote: their names with commas between, or `given` for that of the command line."""
    if order.strip() == "given":
        return [replace(file, order=k) for k, file in enumerate(_side_by_side(files))]
    names = [name.strip() for name in order.split(",") if name.strip()]
    chosen = [_called(files, name) for name in names]
    twice = [name for name, n in Counter(str(file.path) for file in chosen).items() if n > 1]
    missing = [file.path.name for file in files if file not in chosen]
    if twice or missing:
        found = f"--order names {', '.join(twice)} twice" if twice else f"--order leaves out {', '.join(missing)}"
        raise lab_error("spec", found, f"each of the {len(files)} files once", "or --order given, for the order of the command line")
    return [replace(file, order=k) for k, file in enumerate(_side_by_side(chosen))]


def _called(files: Sequence[CheckedFile], name: str) -> CheckedFile:
    own = Path(name).as_posix()
    ways = (
        lambda file: file.path.as_posix() == own or file.path.as_posix().endswith("/" + own),
        lambda file: name in (file.path.stem, file.path.parent.name),
    )
    for way in ways:
        found = [file for file in files if way(file)]
        if len(found) == 1:
            return found[0]
    what = "more than one file" if found else "none of the files"
    raise lab_error("spec", f"--order: {name!r} is {what}", ", ".join(file.path.name for file in files[:8]))


def labelled(files: Sequence[CheckedFile]) -> list[CheckedFile]:
    """Return the files with labels that no two share: where two would, folders are written before them until they differ."""
    labels = [file.label for file in files]
    for depth in range(1, 1 + max((len(file.path.absolute().parts) for file in files), default=0)):
        counts = Counter(labels)
        twice = [counts[label] > 1 for label in labels]
        labels = [_with_folders(file, depth) if again else label for file, label, again in zip(files, labels, twice, strict=True)]
    used: set[str] = set()
    for index, label in enumerate(labels):  # names that differ in capitals or endings alone
        numbered = (f"{label} ({n})" for n in itertools.count(2))
        labels[index] = label if label not in used else next(name for name in numbered if name not in used and name not in labels)
        used.add(labels[index])
    return [replace(file, label=label) for file, label in zip(files, labels, strict=True)]


def _with_folders(file: CheckedFile, depth: int) -> str:
    folders = file.path.absolute().parts[1:-1][-depth:]
    return "/".join([*folders, file.path.stem])

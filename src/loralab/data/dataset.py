"""A whole data set, whatever it is written as: a folder, several of them, a list, or a kohya dataset file; subsets and notes out."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from pydantic import ValidationError

from loralab.data.folders import Cut, FolderContents, Reading, gather_pictures
from loralab.data.gathering import LeftOut, is_there, note_lines, shown
from loralab.errors import LabError, Problem, lab_error
from loralab.generators.example import Example
from loralab.spec.datasets import SubsetSpec

MAX_TOML_BYTES = 1 << 20
#: of a dataset file, what belongs to the whole training and is set elsewhere here
ELSEWHERE = {"batch_size": "`train.batch` in the study"}
#: options that kohya knows and the lab does not, with the value that asks for nothing
INERT: Mapping[str, tuple[Any, ...]] = {
    "color_aug": (False,), "face_crop_aug_range": (None, []), "token_warmup_min": (0, 1), "token_warmup_step": (0,), "cache_info": (False,),
    "network_multiplier": (1, 1.0), "skip_image_resolution": (None,), "metadata_file": (None,), "in_json": (None,),
    "resize_interpolation": (None,), "validation_split": (0, 0.0), "validation_seed": (None,), "custom_attributes": (None, {}),
}  # fmt: skip
#: options of a subset that kohya's files do not have, or have elsewhere (sd-scripts #1710: among custom_attributes)
PRESERVED = "diff_output_preservation"
NOT_KOHYAS = ("trigger", PRESERVED)
TOP = ("general", "datasets")
PATHS = ("image_dir", "conditioning_data_dir")
#: what people meet who paste a path of Windows into a dataset file
BACKSLASHES = 'in TOML a backslash inside "..." starts an escape sequence: put the path in single quotes, or use / instead of backslashes'


@dataclass(frozen=True)
class Subset:
    """The pictures of one folder with the options they are trained under; no two subsets of a data set share a ``name``."""

    name: str
    options: SubsetSpec
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class DatasetContents:
    """What a data set holds; ``notes`` are things that other trainers would pass over in silence.

    ``left_out`` are the files that are not used, each with its reason; ``problems`` are those that cannot be (none, unless gathered).
    """

    subsets: tuple[Subset, ...]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def examples(self) -> tuple[Example, ...]:
        """The pictures of all subsets, in order."""
        return tuple(example for subset in self.subsets for example in subset.examples)


def read_dataset(
    path: Path, cut_for: Callable[[SubsetSpec], Cut], given: SubsetSpec | None = None, called: str = ""
) -> DatasetContents:  # fmt: skip
    """Return the data set at ``path``: a folder as ``read_folder`` knows it, or a kohya dataset file (.toml).

    Each `N_name` folder of a root is a subset of its own, under the options ``given``. Beside other sets, ``called`` tells its folders
    and files from theirs. Raises LabError("data") that lists every problem of every subset together.
    """
    contents = gather_dataset(path, cut_for, given, called)
    if contents.problems:
        raise LabError("data", contents.problems)
    return contents


def gather_dataset(
    path: Path, cut_for: Callable[[SubsetSpec], Cut], given: SubsetSpec | None = None, called: str = ""
) -> DatasetContents:  # fmt: skip
    """Return what `read_dataset` does, with the problems beside what can be read; raises LabError("data") where there is nothing."""
    if path.suffix.lower() == ".toml":
        return _gather_subsets(load_dataset_file(path), path, cut_for)
    options = given if given is not None else SubsetSpec(image_dir=shown(path.name) or ".")
    how = replace(reading_of(options, path.parent), flat=False, class_tokens=None, called=called)
    contents = gather_pictures(path, cut_for(options), how)
    subsets = tuple(_by_folder(called or path.resolve().name, options, contents))
    return DatasetContents(subsets, tuple(contents.notes), contents.left_out, contents.problems)


def _by_folder(root: str, options: SubsetSpec, contents: FolderContents) -> Iterator[Subset]:
    """Yield the folders of a root with their repeats; what lies in the root itself goes by the root's name."""
    grouped: dict[tuple[str, int], list[Example]] = {}
    for example in contents.examples:
        grouped.setdefault((Path(example.source).parent.as_posix(), int(example.factors["repeats"])), []).append(example)
    names = number_alike([root if parent == "." else parent for parent, _ in grouped])
    for name, ((_, repeats), examples) in zip(names, grouped.items(), strict=True):
        yield Subset(name, options.model_copy(update={"image_dir": name, "num_repeats": repeats}), tuple(examples))


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return a name for each path, no two alike: its last folder, more of it where that is shared, a number where a path comes twice.

    Names that differ in capitals alone are told apart too, since not every file system does.
    """
    parts = [[part for part in re.split(r"[/\\\\]", path) if part not in ("", ".")] or [path] for path in paths]
    names = [own[-1] for own in parts]
    for length in range(2, max((len(own) for own in parts), default=0) + 1):
        shared = _shared(names)
        names = ["/".join(own[-length:]) if name.casefold() in shared else name for own, name in zip(parts, names, strict=True)]
    return number_alike(names)


def number_alike(names: Sequence[str]) -> list[str]:
    """Return ``names``, with ` (2)`, ` (3)` ... behind those that came before, as sd-scripts numbers them in a file's metadata."""
    found: list[str] = []
    given, taken = {name.casefold() for name in names}, set[str]()
    for name in names:
        own, number = name, 1
        while own.casefold() in taken or (number > 1 and own.casefold() in given):
            number += 1
            own = f"{name} ({number})"
        taken.add(own.casefold())
        found.append(own)
    return found


def _shared(names: Sequence[str]) -> set[str]:
    counts = Counter(name.casefold() for name in names)
    return {name for name, count in counts.items() if count > 1}


# --- kohya's dataset file -----------------------------------------------------------------------------------------------


def load_dataset_file(path: Path) -> list[SubsetSpec]:
    """Return the subsets of a kohya dataset file, options of `[general]` and of their data set filled in.

    Raises LabError("data") that names every key that is unknown, or that asks for what the lab does not do.
    """
    tree = _parse_toml(path)
    problems = [_unknown(key, TOP, path.name) for key in tree if key not in TOP]
    subsets: list[SubsetSpec] = []
    general = _flat(tree.get("general", {}), f"{path.name}, [general]", problems)
    for number, dataset in enumerate(_tables(tree.get("datasets", []), f"{path.name}, datasets", problems), start=1):
        where = f"{path.name}, [[datasets]] {number}"
        shared = general | _flat({key: value for key, value in dataset.items() if key != "subsets"}, where, problems)
        for index, subset in enumerate(_tables(dataset.get("subsets", []), f"{where}, subsets", problems), start=1):
            place = f"{where}, [[subsets]] {index}"
            subsets += _subset(shared | _flat(subset, place, problems), place, problems)
    if not subsets and not problems:
        raise lab_error("data", f"{path.name} has no subsets", "[[datasets]] with [[datasets.subsets]], each with an image_dir")
    if problems:
        raise LabError("data", problems)
    return subsets


def _parse_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise lab_error("data", f"there is no dataset file at {path}", "the path to a kohya dataset file (.toml)")
    if path.stat().st_size > MAX_TOML_BYTES:
        raise lab_error("data", f"{path.name} is larger than 1 MiB", "a dataset file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise lab_error("data", "the text is not UTF-8", "UTF-8", "save it again as UTF-8", path.name) from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        do = BACKSLASHES if "\\" in _line_of(error, text) else ""
        raise lab_error("data", f"not valid TOML: {error}", "a kohya dataset file", do, path.name) from error


def _line_of(error: Exception, text: str) -> str:
    """Return the line that a TOML error speaks of; nothing where it names none."""
    found = re.search(r"at line (\d+)", str(error))
    lines = text.split("\n")
    return lines[int(found[1]) - 1] if found and 0 < int(found[1]) <= len(lines) else ""


def folder_of(beside: Path, name: str) -> Path:
    """Return the folder that a file beside it names: as it stands, else with `~` as the home, else Windows' backslashes read as folders.

    Raises LabError("data") for a path of Windows on another system, which cannot be there.
    """
    literal = beside / name
    if is_there(literal):
        return literal
    home = Path(name).expanduser() if name.startswith("~") else literal
    if home is not literal and is_there(home):
        return home
    if PureWindowsPath(name).drive and not Path(name).is_absolute() and os.name != "nt":
        raise lab_error("data", f"{name!r} is a Windows path", "a path on this machine", "give the folder's path on this machine")
    slashed = beside / name.replace("\\", "/")
    return slashed if is_there(slashed) else literal


def _tables(value: Any, where: str, problems: list[Problem]) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    problems.append(Problem("not a list of tables", "[[datasets]] and [[datasets.subsets]]", where=where))
    return []


def _flat(options: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    """Return the options that the lab acts on; the others become problems, unless they ask for nothing."""
    if not isinstance(options, dict):
        problems.append(Problem("not a table", "key = value lines", where=where))
        return {}
    kept = {}
    for key, value in options.items():
        if key in SubsetSpec.model_fields and key not in NOT_KOHYAS:
            kept[key] = value
        elif key == "custom_attributes" and isinstance(value, dict) and set(value) <= {PRESERVED}:
            kept |= value
        elif key in INERT and value not in INERT[key]:
            problems.append(Problem(f"{key} = {value!r} is not supported", "a file without this key", where=where))
        elif key not in INERT and key not in ELSEWHERE:
            problems.append(_unknown(key, (*(name for name in SubsetSpec.model_fields if name not in NOT_KOHYAS), *ELSEWHERE), where))
    return kept


def _unknown(key: str, known: tuple[str, ...], where: str) -> Problem:
    near = difflib.get_close_matches(key, known, n=1)
    do = f"did you mean {near[0]}?" if near else "check the spelling"
    return Problem(f"unknown key {key!r}", f"one of {', '.join(known)}", do, where)


def _subset(options: dict[str, Any], where: str, problems: list[Problem]) -> list[SubsetSpec]:
    escaped = [key for key in PATHS if isinstance(options.get(key), str) and not options[key].isprintable()]
    for key in escaped:
        problems.append(
            Problem(
                f"{key} = {options[key][:80]!r} contains a line break, a tab or another control character", "a path", BACKSLASHES, where
            )
        )
    if escaped:
        return []
    try:
        return [SubsetSpec.model_validate(options)]
    except ValidationError as error:
        for item in error.errors():
            name = ".".join(str(part) for part in item["loc"])
            problems.append(Problem(f"{name}: {item['msg'].removeprefix('Value error, ')}", where=where))
        return []


def _gather_subsets(subsets: list[SubsetSpec], file: Path, cut_for: Callable[[SubsetSpec], Cut]) -> DatasetContents:
    found: list[tuple[Subset, FolderContents]] = []
    problems: list[Problem] = []
    for name, options in zip(unique_names([options.image_dir for options in subsets]), subsets, strict=True):
        try:
            how = replace(reading_of(options, file.parent), called=name)
            contents = gather_pictures(folder_of(file.parent, options.image_dir), cut_for(options), how)
        except LabError as error:
            problems.extend(error.problems)
            continue
        problems.extend(contents.problems)
        found.append((Subset(name, options, tuple(contents.examples)), contents))
    if problems and not any(contents.examples for _, contents in found):
        raise LabError("data", problems)
    used = {file.resolve()}.union(*(contents.used for _, contents in found))
    left = {
        each.path: each for _, contents in found for each in contents.left_out if each.path not in used and each.path.resolve() not in used
    }
    noted: dict[str, list[str]] = {}
    for _, contents in found:
        for what, names in contents.noted.items():
            noted.setdefault(what, []).extend(names)
    unused = tuple(left.values())
    return DatasetContents(tuple(subset for subset, _ in found), tuple(note_lines(noted, unused)), unused, tuple(problems))


def reading_of(options: SubsetSpec, beside: Path) -> Reading:
    masks = folder_of(beside, options.conditioning_data_dir) if options.conditioning_data_dir else None
    return Reading(
        caption_ending=options.caption_extension, class_tokens=options.class_tokens, all_lines=options.enable_wildcard,
        alpha_masks=options.alpha_mask, masks=masks, flat=True,
    )  # fmt: skip

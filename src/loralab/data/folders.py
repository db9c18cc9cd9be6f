"""Reads people's training folders: every picture is decoded first, every problem is reported at once, no file is passed over in silence.

kohya's layout (`N_name/` with sidecar captions), or a HF imagefolder (`metadata.jsonl`); a folder in, examples and notes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from loralab.data.found import Found
from loralab.data.gathering import Gathering, LeftOut, Reading, note_lines
from loralab.data.kohya_folders import inner_folders, picture_folders, pictures_in, sidecar_files
from loralab.data.listed import LIST, listed_files
from loralab.data.picture_formats import read_formats
from loralab.data.pictures import Cut, decode
from loralab.data.unused import leave_others
from loralab.errors import LabError, Problem, lab_error
from loralab.generators.example import Example

__all__ = ["Cut", "FolderContents", "Reading", "gather_pictures", "read_folder", "read_pictures"]

#: the split of a HF data set that is trained on
TRAIN = "train"
AS_KOHYA = Reading()
MOST_NAMED = 8


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds, what was noted of its files, which of them were not used and why, and what could not be read."""

    examples: list[Example]
    noted: dict[str, list[str]]
    left_out: tuple[LeftOut, ...]
    problems: tuple[Problem, ...]
    used: frozenset[Path]

    @property
    def notes(self) -> list[str]:
        """What other trainers would pass over in silence, a line for each kind."""
        return note_lines(self.noted, self.left_out)


def read_folder(folder: Path, size_px: int) -> FolderContents:
    """Return the pictures of ``folder`` with their captions, cropped to the central square and resized (Lanczos) to ``size_px``."""
    return read_pictures(folder, lambda picture: ImageOps.fit(picture, (size_px, size_px), Image.Resampling.LANCZOS))


def read_pictures(folder: Path, cut: Cut, how: Reading = AS_KOHYA) -> FolderContents:
    """Return the pictures of ``folder`` with their captions, each as ``cut`` leaves it; its own size stays in its factors.

    A caption is the first line of `.txt` or `.caption` beside the picture, else the folder's name behind the number of repeats, as in
    kohya's sd-scripts (`library/train_util.py`); or the `text` of `metadata.jsonl`. Orientation in EXIF is applied, alpha laid on white.
    Raises LabError("data") that lists every unreadable picture, contradicting caption and link out of the folder together.
    """
    contents = gather_pictures(folder, cut, how)
    if contents.problems:
        raise LabError("data", contents.problems)
    return contents


def gather_pictures(folder: Path, cut: Cut, how: Reading = AS_KOHYA) -> FolderContents:
    """Return what `read_pictures` does, with the problems beside the pictures that can be read.

    Raises LabError("data") where there is no such folder, or nothing in it to read.
    """
    try:
        return _gather(folder, cut, how)
    except OSError as error:
        raise lab_error(
            "data", f"{folder.name[:80]} cannot be read ({error.strerror or error})", "a folder you are allowed to read"
        ) from error


def _gather(folder: Path, cut: Cut, how: Reading) -> FolderContents:
    if not folder.is_dir():
        raise _no_folder(folder)
    reading = Gathering(folder, how)
    examples = [example for item in _files(reading) if (example := decode(item, cut, reading)) is not None and not item.spoilt]
    if not examples and not reading.problems:
        raise _no_pictures(reading)
    return FolderContents(examples, reading.noted, reading.left_out(), tuple(reading.problems), frozenset(reading.used))


def _files(folder: Gathering) -> list[Found]:
    """Return the pictures to read; every other file of the folder gets a reason."""
    inside = _list_folder(folder)
    if inside is not None:
        found = list(listed_files(folder, inside))
        folder.used.update(item.file for item in found)
        leave_others(folder, (inside,), folder.where(inside / LIST))
        return found
    places = picture_folders(folder)
    found = [item for place in places for item in sidecar_files(place, folder)]
    folder.used.update(item.file for item in found)
    leave_others(folder, places)
    _leave_masks(found, folder)
    return found


def _list_folder(folder: Gathering) -> Path | None:
    """Return the folder whose metadata.jsonl is read: this one, or the training split further in; None where captions lie beside."""
    if (folder.root / LIST).is_file() or (folder.root / LIST).is_symlink():
        return folder.root
    if folder.how.flat:
        return None
    splits = [item for item in inner_folders(folder.root) if (item / LIST).is_file()]
    if not splits or picture_folders(folder) != [folder.root] or pictures_in(folder.root, folder):
        return None
    train = [item for item in splits if item.name.lower() == TRAIN] or splits
    if len(train) > 1:
        names = ", ".join(item.name for item in splits[:MOST_NAMED])
        raise lab_error(
            "data", f"{len(splits)} picture lists ({names}) in {folder.root.name}", f"one, or a folder {TRAIN}", "choose one of them"
        )
    folder.note(f"the pictures are taken from its folder {train[0].name}", folder.root / train[0].name / LIST)
    return train[0]


def _leave_masks(found: Sequence[Found], folder: Gathering) -> None:
    """Note the masks that no picture has."""
    if folder.how.masks is not None and folder.how.masks.is_dir():
        stems = {item.file.stem for item in found}
        for file in sorted(item for item in folder.how.masks.iterdir() if item.is_file() and item.stem not in stems):
            folder.leave(file, "masks without a picture")


# --- what is said where there is nothing to read ------------------------------------------------------------------------


def _no_folder(folder: Path) -> LabError:
    if folder.is_file():
        return lab_error("data", f"{folder.name} is a file", "a folder of training pictures, or a kohya dataset file (.toml)")
    near = sorted(item.name for item in folder.parent.iterdir() if item.is_dir())[:MOST_NAMED] if folder.parent.is_dir() else []
    return lab_error(
        "data",
        f"there is no folder at {folder}",
        "a folder of training pictures",
        f"the folders there are {', '.join(near)}" if near else "",
    )


def _no_pictures(folder: Gathering) -> LabError:
    """Return the error for a folder without pictures; folders further in that hold some are named."""
    holding = [item.name for item in inner_folders(folder.root) if pictures_in(item, folder)][:MOST_NAMED]
    do = f"use one of its subfolders that contain pictures: {', '.join(holding)}" if holding else ""
    left = note_lines({}, folder.left_out())[:3]
    found = f"there are no pictures in {folder.root}" + (f" ({'; '.join(left)})" if left else "")
    return lab_error("data", found, f"files ending in {', '.join(sorted(read_formats()))}, in folders with names such as 10_name", do)

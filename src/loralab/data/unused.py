"""Why a file of a data folder is not used: every file that is neither a picture that is read nor its caption gets a reason."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from loralab.data.gathering import Gathering
from loralab.data.kohya_folders import CAPTION_ENDINGS, repeats_of
from loralab.data.picture_formats import read_formats, why_unread

SYSTEM = ("thumbs.db", "desktop.ini", "icon\r")


def leave_others(folder: Gathering, places: Collection[Path], by_list: str = "") -> None:
    """Give a reason for every file that is not used; ``places`` are the folders that were read, ``by_list`` the list that names them."""
    stems: dict[Path, set[str]] = {}
    names: dict[Path, set[str]] = {}
    for file in folder.used:
        if file.suffix.lower() in read_formats():
            stems.setdefault(file.parent, set()).add(file.stem)
            names.setdefault(file.parent, set()).add(file.name)
    for file in folder.others():
        if file.name.startswith("."):
            folder.leave(file, "hidden files")
        elif file.name.lower() in SYSTEM:
            folder.leave(file, "operating-system files")
        else:
            kin = stems.get(file.parent, set()), names.get(file.parent, set())
            folder.leave(file, _by_list(file, folder, by_list) if by_list else _why(file, folder, places, *kin))


def _by_list(file: Path, folder: Gathering, by_list: str) -> str:
    ending = file.suffix.lower()
    if ending in read_formats():
        return f"pictures that are not listed in {by_list}"
    return f"captions come from {by_list} instead" if ending in CAPTION_ENDINGS else why_unread(ending)


def _why(file: Path, folder: Gathering, places: Collection[Path], stems: set[str], names: set[str]) -> str:
    ending = file.suffix.lower()
    kind = "pictures" if ending in read_formats() else "captions" if ending in CAPTION_ENDINGS else ""
    if kind and file.parent not in places:
        return _why_elsewhere(file, kind, folder, places)
    if not kind:
        return why_unread(ending)
    return _why_caption(file, folder, stems, names)


def _why_elsewhere(file: Path, kind: str, folder: Gathering, places: Collection[Path]) -> str:
    if file.parent == folder.root:
        return f"{kind} outside the folders named with a number of repeats, as in kohya"
    top = file.relative_to(folder.root).parts[0]
    if folder.root in places:
        return f"{kind} in a subfolder, which is not read"
    if folder.root / top in places:
        return f"{kind} in a folder inside a folder of pictures, which is not read, as in kohya"
    if repeats_of(top) == 0:
        return f"{kind} in a folder with 0 repeats, as in kohya"
    return f"{kind} in a folder whose name does not start with a number of repeats, as in kohya"


def _why_caption(file: Path, folder: Gathering, stems: set[str], names: set[str]) -> str:
    wanted = folder.how.caption_ending
    if file.stem in stems and file.suffix != file.suffix.lower():
        return f"an extension in capitals, while sd-scripts looks for {file.suffix.lower()} (rename it)"
    if file.stem in stems and wanted and file.suffix != wanted:
        return f"caption_extension asks for {wanted}"
    if file.stem in names:
        return f"a caption is named without its picture's extension ({Path(file.stem).stem}{file.suffix})"
    return "captions without a picture"

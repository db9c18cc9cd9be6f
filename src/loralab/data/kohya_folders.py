"""Which files of a kohya folder are pictures and captions: `N_name/` folders, or pictures in the folder itself; and why others are not.

Source: sd-scripts `library/config_util.py` (extract_dreambooth_params) and `library/train_util.py` (load_dreambooth_dir).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from loralab.data.caption_files import read_caption
from loralab.data.found import Found
from loralab.data.gathering import Gathering, shown
from loralab.data.picture_formats import read_formats
from loralab.spec.datasets import MOST_REPEATS

REPEATS_FOLDER = re.compile(r"^(\d+)(?:_(.*))?$", re.DOTALL)
CAPTION_ENDINGS = (".txt", ".caption")
#: so many showings are worth a word: a year, or a picture's size, in front of a name
MANY_REPEATS = 300


def repeats_of(name: str) -> int | None:
    """Return the repeats that a folder's name begins with; None where it does not begin with a number alone."""
    match = REPEATS_FOLDER.match(name)
    return int(match[1]) if match else None


def inner_folders(folder: Path) -> list[Path]:
    """Return the folders in ``folder``, in order; one that is named as a picture is none (it is refused as one)."""
    return sorted(item for item in folder.iterdir() if item.is_dir() and item.suffix.lower() not in read_formats())


def picture_folders(folder: Gathering) -> list[Path]:
    """Return the folders whose pictures are read: those named with repeats, else the folder itself."""
    if folder.how.flat:
        return [folder.root]
    return [item for item in inner_folders(folder.root) if repeats_of(item.name)] or [folder.root]


def sidecar_files(inside: Path, folder: Gathering) -> Iterator[Found]:
    """Yield the pictures in ``inside`` with the captions beside them, else the folder's name behind the repeats."""
    name = shown(inside.resolve().name)
    match = REPEATS_FOLDER.match(name)
    repeats, tokens = (int(match[1]), match[2] or "") if match and not folder.how.flat else (1, match[2] or "" if match else "")
    tokens = tokens if folder.how.class_tokens is None else folder.how.class_tokens
    pictures = pictures_in(inside, folder)
    if not pictures or not _may_repeat(inside, name, repeats, folder):
        folder.used.update(pictures)
        return
    entries = {item.name: item for item in inside.iterdir()}
    _check_stems(pictures, folder)
    for file in pictures:
        captions = [read_caption(text, file, folder) for text in _texts_of(file, entries, folder)]
        said = {caption for caption in captions if caption is not None}
        if len(said) > 1:
            found = f"{file.stem}.txt and {file.stem}.caption say different things"
            folder.refuse(file, found, "one caption", "kohya reads .caption by default; delete one of them")
        yield Found(file, next((each for each in captions if each is not None), tokens), repeats, None in captions)


def _may_repeat(inside: Path, name: str, repeats: int, folder: Gathering) -> bool:
    """Return whether pictures of a folder are shown at all; note a number that is hardly meant as repeats."""
    if not 0 < repeats <= MOST_REPEATS:
        said = "0 repeats, so sd-scripts never shows its pictures" if repeats == 0 else f"{repeats:,} repeats"
        expected = f"a number from 1 to {MOST_REPEATS:,} at the start of the name, such as 10_{name.partition('_')[2] or 'name'}"
        folder.refuse(inside, f"the folder name {name!r} means {said}", expected, "rename the folder")
        return False
    if repeats >= MANY_REPEATS:
        told = f"shown {repeats:,} times per epoch, because the number at the start of a folder name is its repeats, as in kohya"
        folder.noted.setdefault(told, []).append(name)
    return True


def pictures_in(inside: Path, folder: Gathering) -> list[Path]:
    """Return the pictures in ``inside``, in order, hidden files left out."""
    named = sorted(item for item in inside.iterdir() if item.suffix.lower() in read_formats())
    return [file for file in named if not file.name.startswith(".")]


def _texts_of(file: Path, entries: dict[str, Path], folder: Gathering) -> list[Path]:
    """Return the caption files of a picture, by the names that they have on disk."""
    endings = (folder.how.caption_ending,) if folder.how.caption_ending else CAPTION_ENDINGS
    texts = [file.with_name(file.stem + ending) for ending in endings]
    there = [text for text in texts if text.name in entries or text.is_file()]
    return [text if text.name in entries else _as_on_disk(text, entries) for text in there]


def _as_on_disk(text: Path, entries: dict[str, Path]) -> Path:
    """Return the name that a file has where the file system does not tell small letters from capitals."""
    return next((item for name, item in entries.items() if name.casefold() == text.name.casefold()), text)


def _check_stems(pictures: Sequence[Path], folder: Gathering) -> None:
    """Refuse pictures that would share one caption file."""
    named: dict[str, list[Path]] = {}
    for file in pictures:
        named.setdefault(file.stem, []).append(file)
    for same in named.values():
        if len(same) > 1:
            found = f"{' and '.join(file.name for file in same)} differ only in their extension, so they share one caption"
            folder.refuse(
                same[0], found, "a different name for each picture", "rename or delete one; other trainers would mix up their caches too"
            )

"""Which files a check is about: what the user wrote in; LoRA files out, and a note for everything that was passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loralab.checking.order import INNER, is_moment
from loralab.errors import lab_error
from loralab.spec.elsewhere import ENDING, expand, leaves, natural_key

MOST_NAMED = 8
WANTED = "a LoRA file (.safetensors), or a folder of them"


@dataclass(frozen=True)
class Listed:
    """One file, and whether the user named it: what is merely found in a folder may be passed over, what was named must work."""

    path: Path
    named: bool


def list_files(written: Sequence[Path]) -> tuple[list[Listed], list[str]]:
    """Return the LoRA files at ``written`` (files, folders, patterns), each once, and notes on what was passed over.

    Raises LabError("model") where nothing is there or nothing is left.
    """
    files: dict[Path, Listed] = {}
    notes: list[str] = []
    for text in written:
        found = _expanded(text)
        by_pattern = len(found) != 1 or found[0].name != text.name
        for path in found:
            if path.is_dir():
                listed = list(_scanned(path, notes))
            elif by_pattern:
                listed = list(_of_pattern(path, notes))
            else:
                listed = [Listed(path, named=True)]
            _add(files, listed, notes)
    if not files:
        raise lab_error(
            "model", _nothing(written, notes), "LoRA files (.safetensors)", "give their paths, or the folder that contains them"
        )
    return list(files.values()), notes


def _expanded(text: Path) -> list[Path]:
    try:
        found = expand(str(text), Path())
    except (ValueError, NotImplementedError) as error:
        raise lab_error(
            "model", f"{text} is neither a path nor a valid pattern ({error})", "a LoRA file (.safetensors), or a folder of them"
        ) from error
    if not found:
        raise lab_error("model", f"there is no file or folder at {text}", WANTED)
    return found


def _scanned(folder: Path, notes: list[str]) -> Iterator[Listed]:
    """Yield a folder's own files and those of its folders of moments; where there are none, those of all its folders."""
    own = [file for file in _inside(folder) if _is_lora(file, folder, notes)]
    folders = [item for item in _inside(folder) if item.is_dir() and not item.name.startswith(".") and not leaves(item, folder)]
    moments = [item for item in folders if is_moment(item.name)]
    below = moments if own or moments else folders
    found = [*own, *(file for item in below for file in _files_of(item) if _is_lora(file, folder, notes))]
    yield from (Listed(file, named=False) for file in found)
    for item in folders if found else ():
        if item not in below and (n := sum(_has_ending(file) for file in _inside(item))):
            notes.append(
                f"The folder {item.name} contains {n} {'file' if n == 1 else 'files'} more, not checked here; give that folder to "
                "check them."
            )


def _files_of(folder: Path) -> list[Path]:
    """Return what lies in the folder of a moment; OneTrainer's backups have the file one level further in."""
    inner = folder / INNER
    return [*_inside(folder), *(_inside(inner) if is_moment(folder.name) and inner.is_dir() and not leaves(inner, folder) else ())]


def _of_pattern(path: Path, notes: list[str]) -> Iterator[Listed]:
    if _is_lora(path, path.parent, notes):
        yield Listed(path, named=False)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda item: natural_key(item.name))
    except OSError as error:
        raise lab_error("model", f"the folder {folder} cannot be read ({error.strerror})", "a folder of LoRA files") from error


def _has_ending(file: Path) -> bool:
    return file.suffix.lower() == ENDING and not file.name.startswith(".")


def _is_lora(file: Path, folder: Path, notes: list[str]) -> bool:
    """Return whether a file of a folder is to be checked; a note tells why one that looks like it is not."""
    if file.suffix.lower() != ENDING or file.is_dir():
        return False
    if file.name.startswith("."):
        notes.append(f"{file.name} was skipped: a hidden file{', which macOS writes' if file.name.startswith('._') else ''}.")
        return False
    if leaves(file, folder):
        notes.append(f"{file.name} was skipped: a link that leads out of its folder; give the file itself to follow it.")
        return False
    return True


def _add(files: dict[Path, Listed], listed: Sequence[Listed], notes: list[str]) -> None:
    """Take each file once, by what it really is: a link beside its target is the same file."""
    for item in listed:
        real = item.path.resolve()
        if real in files and files[real].path != item.path:
            notes.append(f"{item.path.name} and {files[real].path.name} are the same file (a link), which is checked once.")
        earlier = files.get(real)
        files[real] = item if earlier is None or item.named or earlier.path.is_symlink() else earlier


def _nothing(written: Sequence[Path], notes: Sequence[str]) -> str:
    if notes:
        return f"there is no file left to check: {' '.join(notes)}"
    others = sorted(item.name for path in written if path.is_dir() for item in path.iterdir())[:MOST_NAMED]
    return f"no {ENDING} file in {', '.join(map(str, written))}" + (f" (there are {', '.join(others)})" if others else "")

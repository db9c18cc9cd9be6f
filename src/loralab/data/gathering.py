"""A folder while it is read: what is wrong in it, what is worth a note, which files were used, and why the others were not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loralab.errors import Problem

NAMES_IN_A_NOTE = 8
#: files listed one by one; a folder with more beside its pictures is some other folder
MOST_LISTED = 20_000


def shown(name: str) -> str:
    """Return a file's name as text that every screen and page can hold: what cannot be printed is written as an escape."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in name)


def is_there(path: Path) -> bool:
    """Return whether something lies at ``path``; a name that no disk can hold lies nowhere."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class LeftOut:
    """A file that is not used: its name as the user knows it, and why."""

    file: str
    why: str
    path: Path


@dataclass(frozen=True)
class Reading:
    """How a folder is read beyond kohya's habits: ending of captions ("" = both), what stands in for them, lines, masks."""

    caption_ending: str = ""
    class_tokens: str | None = None  # None = what the folder's name says
    all_lines: bool = False
    alpha_masks: bool = False
    masks: Path | None = None
    flat: bool = False  # the pictures lie in the folder itself, whatever is beside them
    called: str = ""  # stands before the names of files, where several folders are read together


@dataclass(frozen=True)
class Gathering:
    """The folder that is read, and what is found out about it."""

    root: Path
    how: Reading = Reading()
    problems: list[Problem] = field(default_factory=list)
    noted: dict[str, list[str]] = field(default_factory=dict)
    used: set[Path] = field(default_factory=set)
    left: dict[Path, str] = field(default_factory=dict)

    def where(self, file: Path) -> str:
        """Return a file's name as the user knows it."""
        if not file.is_relative_to(self.root):
            return shown(str(file))
        if file == self.root:
            return shown(self.how.called or file.resolve().name)
        inside = file.relative_to(self.root).as_posix()
        return shown(f"{self.how.called}/{inside}" if self.how.called else inside)

    def refuse(self, file: Path, found: str, expected: str, do: str) -> None:
        self.problems.append(Problem(found, expected, do, self.where(file)))

    def note(self, what: str, file: Path) -> None:
        self.noted.setdefault(what, []).append(self.where(file))

    def leave(self, file: Path, why: str) -> None:
        """Record that ``file`` is not used; the first reason stands."""
        self.left.setdefault(file, why)

    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(LeftOut(self.where(file), why, file) for file, why in sorted(self.left.items()) if file not in self.used)

    def holds(self, file: Path) -> bool:
        """Return whether ``file`` is a file inside the folder; a problem is recorded where it is not."""
        try:
            target = file.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # a loop of links is a RuntimeError before Python 3.13
            self.refuse(file, "there is no such file, or it is a broken link", "a file in the folder", "copy it into the folder")
            return False
        if not target.is_relative_to(self.root.resolve()):
            self.refuse(file, "a link or path that leads out of the folder", "files inside the folder", "copy it into the folder")
            return False
        if not target.is_file():
            self.refuse(file, "not a file", "a file", "rename or move it")
            return False
        return True

    def others(self) -> Iterator[Path]:
        """Yield the files under the folder of which nothing is known yet, masks aside; links to folders are not followed."""
        listed = 0
        for place, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                file = Path(place, name)
                if file in self.used or file in self.left or (self.how.masks is not None and file.is_relative_to(self.how.masks)):
                    continue
                listed += 1
                if listed > MOST_LISTED:
                    self.note(f"more than {MOST_LISTED:,} files are not used; the rest are not listed", self.root)
                    return
                yield file


def note_lines(noted: dict[str, list[str]], left: Sequence[LeftOut]) -> list[str]:
    """Return a line for each thing noted and each reason for leaving files out, with the first few names that it holds for."""
    grouped: dict[str, list[str]] = {}
    for each in left:
        grouped.setdefault(each.why, []).append(each.file)
    lines = [f"{what}: {_some(names)}" for what, names in noted.items()]
    return lines + [f"skipped: {why}: {_some(names)}" for why, names in grouped.items()]


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_IN_A_NOTE
    return ", ".join(names[:NAMES_IN_A_NOTE]) + (f" and {more} more" if more > 0 else "")

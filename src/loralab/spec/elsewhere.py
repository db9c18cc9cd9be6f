"""LoRA files that lie elsewhere: what a user wrote as their path in, the files out; the literal path first, then the pattern."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

ENDING = ".safetensors"
PATTERN = re.compile(r"[*?\[]")
#: PEFT keeps alphas in a file of this name beside the weights, whose tensors' names begin so
CONFIG, PEFT_NAME, MOST_HEADER = "adapter_config.json", b'"base_model.model.', 16 << 20


def adapter_files(pattern: str, folder: Path) -> list[Path]:
    """Return the files that ``pattern`` names, relative to ``folder``; numbers count as numbers: seed2 stands before seed10.

    A path that stands there letter by letter is taken as it is, whatever its ending; a pattern takes .safetensors files and passes over
    hidden ones. Raises ValueError where there is none, or where the pattern takes files of another kind too.
    """
    found = [file for file in expand(pattern, folder) if file.is_file()]
    if len(found) == 1 and _is_literal(pattern, folder):
        return found
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        raise ValueError(
            f"no file matches {pattern!r}; write the path of the LoRA files relative to the study file, with `*` for the part that varies"
        )
    others = [file.name for file in found if file.suffix.lower() != ENDING]
    if others:
        raise ValueError(f"{pattern!r} matches {', '.join(others[:3])}; only {ENDING} files are read")
    links = [file.name for file in found if leaves(file, file.parent)]
    if links:
        raise ValueError(
            f"{pattern!r} matches {', '.join(links[:3])}, a link that leads out of its folder; give the link itself to follow it"
        )
    return found


def config_of(file: Path) -> Path | None:
    """Return the configuration that belongs to a file of PEFT's, which lies beside it; None where there is none or none is needed."""
    config = file.with_name(CONFIG)
    if not config.is_file():
        return None
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        return config if PEFT_NAME in opened.read(min(length, MOST_HEADER)) else None


def leaves(file: Path, folder: Path) -> bool:
    """Return whether a file is a link to something outside ``folder``."""
    return file.is_symlink() and not file.resolve().is_relative_to(folder.resolve())


def expand(written: str, folder: Path) -> list[Path]:
    """Return what ``written`` names, relative to ``folder``: itself where it exists, else what it matches as a pattern, in natural order.

    ``~`` is the user's home. Of a pattern, folders that exist letter by letter are taken so: ``LoRA [v1]/seed*.safetensors`` looks into
    the folder ``LoRA [v1]``. Empty where nothing is there.
    """
    for start in _starts(written, folder):
        if os.path.lexists(start):
            return [start]
    matches = {match for start in _starts(written, folder) for match in _matches(start)}
    return sorted(matches, key=lambda path: natural_key(path.as_posix()))


def named_path(written: str, folder: Path) -> Path:
    """Return the one path that ``written`` names, relative to ``folder``: letter by letter where that exists, else ``~`` is the home.

    Brackets and spaces mean themselves. Where nothing is there, the path that stands there letter by letter.
    """
    starts = _starts(written, folder)
    return next((start for start in starts if os.path.lexists(start)), starts[0])


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return what sorts ``text`` with its numbers as numbers."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part)


def _is_literal(written: str, folder: Path) -> bool:
    return any(os.path.lexists(start) for start in _starts(written, folder))


def _starts(written: str, folder: Path) -> list[Path]:
    """Return the paths that ``written`` may mean: letter by letter, and with ``~`` read as the home of the user."""
    starts = [folder / written]  # an absolute path stays what it is
    if written.startswith("~"):
        with contextlib.suppress(RuntimeError):  # no home is known for that user
            starts.append(Path(written).expanduser())
    return starts


def _matches(path: Path) -> Iterator[Path]:
    parts = path.parts
    depth = next((depth for depth in range(len(parts), 0, -1) if Path(*parts[:depth]).is_dir()), 0)
    rest = parts[depth:]
    if depth and rest and any(PATTERN.search(part) for part in rest):
        yield from Path(*parts[:depth]).glob("/".join(rest))

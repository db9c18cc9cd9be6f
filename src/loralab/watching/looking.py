"""Looks at a folder in which a trainer writes, and takes whole files over: from then on nothing that the trainer does can change them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from loralab.adapters.header import read_header
from loralab.checking.listing import list_files
from loralab.errors import LabError
from loralab.portable import remove, replace
from loralab.spec.elsewhere import CONFIG, ENDING, config_of
from loralab.watching.arriving import Sight, Stamp

#: how PEFT's names begin: the alphas of such a file stand in a configuration, written behind it
PEFT_START = "base_model.model."


def look_at(folder: Path, before: Mapping[str, Sight]) -> tuple[dict[str, Sight], list[str]]:
    """Return the LoRA files of a folder by their path in it, and notes on what is passed over; nothing where nothing is there yet.

    A whole file that stands as it did ``before`` is not opened again.
    """
    try:
        listed, notes = list_files([folder]) if folder.is_dir() else ([], [])
    except LabError:  # the folder holds nothing yet
        return {}, []
    sights = (_sight(folder, item.path, before) for item in listed)
    return {sight.name: sight for sight in sights if sight is not None}, notes


def _sight(folder: Path, path: Path, before: Mapping[str, Sight]) -> Sight | None:
    name = path.relative_to(folder).as_posix()
    real = path.resolve()  # links that leave the folder are passed over by the listing
    try:
        stat = real.stat()
    except OSError:  # gone since it was listed: renamed, or removed by its trainer
        return None
    stamp = Stamp(stat.st_size, stat.st_mtime_ns)
    known = before.get(name)
    unchanged = known is not None and known.stamp == stamp and not known.fault
    return known if unchanged else Sight(name, path, stamp, _fault(path))


def _fault(path: Path) -> str:
    """Return why a file is no whole LoRA file, "" where it is one."""
    try:
        entries, _, _ = read_header(path.resolve())
    except LabError as error:
        return error.problems[0].found
    if any(name.startswith(PEFT_START) for name in entries) and not path.with_name(CONFIG).is_file():
        return f"{path.name} is PEFT's, and {CONFIG} is not there yet"
    return ""


def stamps_of(folder: Path) -> dict[str, Stamp]:
    """Return the stamps of the copies that were taken before, by their path in the folder that is watched."""
    copies = sorted(file for file in folder.rglob("*") if file.suffix.lower() == ENDING and file.is_file()) if folder.is_dir() else []
    stats = {copy.relative_to(folder).as_posix(): copy.stat() for copy in copies}
    return {name: Stamp(stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def take_over(sight: Sight, into: Path) -> Path | None:
    """Return the copy of a file as it was seen, with its time of writing; None where it has changed or gone meanwhile."""
    copy = into / sight.name
    if copy.is_file() and Stamp(copy.stat().st_size, copy.stat().st_mtime_ns) == sight.stamp:
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    scratch = copy.with_name(f".{copy.name}.part")
    try:
        shutil.copyfile(sight.path, scratch)
        stat = sight.path.stat()
        if Stamp(stat.st_size, stat.st_mtime_ns) != sight.stamp:
            return None
        if config := config_of(sight.path):
            shutil.copyfile(config, copy.with_name(CONFIG))
        os.utime(scratch, ns=(sight.stamp.mtime_ns, sight.stamp.mtime_ns))
        replace(scratch, copy)
    except FileNotFoundError:
        return None
    finally:
        remove(scratch)
    return copy

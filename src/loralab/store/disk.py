"""Writing that survives a crash: bytes go in, and the file is either the old one or the whole new one."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loralab.errors import LabError, lab_error
from loralab.portable import LONGEST_PATH, ON_WINDOWS, flush_file, flush_folder, is_held_open, remove, replace

NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn what a user can mend about a disk into LabError("store"): full, no permission, a file in use, a path too long; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            do = "free some space and run the same command again; finished work is kept"
            raise lab_error("store", f"the disk is full ({doing})", "free space", do) from error
        if is_held_open(error) or error.errno in NO_PERMISSION:
            raise _no_permission(error, doing) from error
        if error.errno == errno.ENAMETOOLONG or (ON_WINDOWS and len(str(error.filename or "")) >= LONGEST_PATH):
            found = f"the path {error.filename} has {len(str(error.filename))} characters, which is more than this system allows ({doing})"
            raise lab_error("store", found, "a shorter path", "use --lab DIR to choose a folder closer to the root of the disk") from error
        raise


def _no_permission(error: OSError, doing: str) -> LabError:
    place = f" in {error.filename}" if error.filename else ""
    if is_held_open(error) and error.errno != errno.EPERM:
        found = f"no permission to write{place}, or another program has it open ({doing})"
        do = (
            "close the program that has it open (a picture viewer, or a web interface that has loaded the LoRA), "
            "or use --lab DIR to choose another folder"
        )
        return lab_error("store", found, "a folder you can write to, with none of its files open elsewhere", do)
    return lab_error("store", f"no permission to write{place} ({doing})", "a folder you can write to", "use --lab DIR to choose one")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at ``path`` by ``content`` in one step; a reader sees the old bytes or the new ones."""
    with disk_errors(f"writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            scratch.write_bytes(content)
            flush_file(scratch)
            replace(scratch, path)
        finally:
            remove(scratch)
        flush_folder(path.parent)

"""Writing that survives a crash: bytes go in, and the file is either the old one or the whole new one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loralab.errors import lab_error

NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn a full disk or a missing permission inside the block into LabError("store"); other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            do = "free some space and run the same command again: finished work is kept"
            raise lab_error("store", f"the disk is full ({doing})", "free space", do) from error
        if error.errno in NO_PERMISSION:
            place = f" in {error.filename}" if error.filename else ""
            raise lab_error(
                "store", f"no permission to write{place} ({doing})", "a folder that you may write to", "choose one with --lab DIR"
            ) from error
        raise


def fsync_path(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at ``path`` by ``content`` in one step; a reader sees the old bytes or the new ones."""
    with disk_errors(f"writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            scratch.write_bytes(content)
            fsync_path(scratch)
            scratch.replace(path)
        finally:
            with suppress(FileNotFoundError):
                scratch.unlink()
        fsync_path(path.parent)

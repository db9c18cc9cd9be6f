"""The store: artefacts in folders named by their keys, published whole by one rename; a manifest comes last."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from loralab.errors import lab_error
from loralab.portable import flush_file, flush_folder, is_alive, machine_name, move
from loralab.store.disk import disk_errors
from loralab.store.keys import canonical_json

MANIFEST = "manifest.json"
LAB_FOLDER = "lab"
#: after so long without a write a scratch folder of another machine is forgotten work
FORGOTTEN_SECONDS = 14 * 24 * 3600.0


def find_lab(start: Path) -> Path:
    """Return the nearest `lab` folder at ``start`` or above it; without one, the `lab` that would be made at ``start``."""
    for folder in (start, *start.parents):
        if (folder / LAB_FOLDER / "store").is_dir():
            return folder / LAB_FOLDER
    return start / LAB_FOLDER


class Store:
    """Artefacts under ``root``: `has`, `path`, `manifest`, and `publish`, the only way in.

    Two processes may share a store: each writes to a scratch folder of its own, and the one that renames second finds the
    artefact there and drops its copy. Stages are deterministic, so it does not matter whose copy stays.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with disk_errors("opening the store"):
            try:
                (root / "scratch").mkdir(parents=True, exist_ok=True)
            except (NotADirectoryError, FileExistsError) as error:
                raise lab_error(
                    "store", f"{root} cannot be used as a lab: there is a file of that name", "a folder", "use --lab DIR to choose another"
                ) from error
        if not os.access(root, os.W_OK):
            raise lab_error("store", f"no permission to write in {root}", "a folder you can write to", "use --lab DIR to choose one")
        self._drop_abandoned_scratch()

    def path(self, kind: str, key: str) -> Path:
        """Return the folder of an artefact, whether it exists or not."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Return whether the artefact is there, whole."""
        return (self.path(kind, key) / MANIFEST).is_file()

    def manifest(self, kind: str, key: str) -> dict[str, Any]:
        """Return an artefact's manifest; raises LabError("store") if it is missing or damaged."""
        file = self.path(kind, key) / MANIFEST
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            do = f"delete the folder {kind}/{key} in the store and run the same command again"
            raise lab_error("store", f"the manifest of {kind}/{key} cannot be read", "JSON", do) from error

    @contextmanager
    def publish(self, kind: str, key: str, manifest: dict[str, Any]) -> Iterator[Path]:
        """Give a scratch folder; when the block ends well, write ``manifest`` and rename the folder into place, whole."""
        with disk_errors(f"writing {kind}"):
            scratch = self.new_scratch()
            try:
                yield scratch
                self.adopt(scratch, kind, key, manifest)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def new_scratch(self) -> Path:
        """Return a new folder of this process, which is removed by whoever opens the store when this process is gone."""
        scratch = self.root / "scratch" / f"{machine_name()}-{os.getpid()}-{_mark_of_process()}-{uuid.uuid4().hex}"
        with disk_errors("writing to the store"):
            scratch.mkdir(parents=True)
        return scratch

    def adopt(self, folder: Path, kind: str, key: str, manifest: dict[str, Any]) -> None:
        """Make ``folder`` the artefact, whole; where another process has published it meanwhile, that one stays."""
        with disk_errors(f"writing {kind}"):
            self._seal(folder, manifest)
            self._move_into_place(folder, self.path(kind, key))

    def drop(self, kind: str, key: str) -> None:
        """Remove an artefact; its manifest goes first, so that it is absent as soon as it is not whole."""
        with disk_errors(f"removing {kind}"):
            (self.path(kind, key) / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.path(kind, key), ignore_errors=True)

    def _seal(self, scratch: Path, manifest: dict[str, Any]) -> None:
        for path in scratch.rglob("*"):
            (flush_folder if path.is_dir() else flush_file)(path)
        (scratch / MANIFEST).write_bytes(canonical_json(manifest).encode())
        flush_file(scratch / MANIFEST)
        flush_folder(scratch)

    def _move_into_place(self, scratch: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            move(scratch, target)
        except OSError:
            # another process published the same key first; anything else (a full disk, no permission) is a real error
            os.listdir(target.parent)  # so that a share looks again
            if not (target / MANIFEST).is_file():
                raise
        flush_folder(target.parent)

    def _drop_abandoned_scratch(self) -> None:
        """Remove scratch folders of processes on this machine that are gone, and any that nobody has written to for long."""
        for folder in (self.root / "scratch").iterdir():
            machine, pid, mark, *_ = [*folder.name.split("-"), "", "", ""]
            if (machine == machine_name() and _is_gone(pid, mark)) or _untouched_seconds(folder) > FORGOTTEN_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def kinds(self) -> list[str]:
        """Return the kinds of artefacts that the store holds."""
        return sorted(folder.name for folder in self.root.iterdir() if folder.is_dir() and folder.name not in ("scratch", "unfinished"))

    def keys(self, kind: str) -> list[str]:
        """Return the keys of the whole artefacts of one kind."""
        folder = self.root / kind
        return sorted(item.name for item in folder.iterdir() if (item / MANIFEST).is_file()) if folder.is_dir() else []


@lru_cache(maxsize=1)
def _mark_of_process() -> str:
    """Return what tells this process from an earlier one of the same number, which is the rule for the first one of a container."""
    return uuid.uuid4().hex[:8]


def _is_gone(pid: str, mark: str) -> bool:
    """Return whether the process of this machine that made a scratch folder has ended."""
    if not pid.isdigit():
        return False
    return mark != _mark_of_process() if int(pid) == os.getpid() else not is_alive(int(pid))


def _untouched_seconds(folder: Path) -> float:
    """Return how long nothing was written to a scratch folder: 0 where that cannot be told."""
    try:
        return time.time() - max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:  # it has just gone
        return 0.0

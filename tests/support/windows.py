"""Windows' rules on this machine: what the system would refuse there is refused here, so that tests see it without a Windows."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loralab import portable

#: functions of `os` that Windows does not have
LACKING = ("sysconf", "getloadavg", "geteuid", "fork", "link", "symlink")


def apply_windows_rules(monkeypatch: pytest.MonkeyPatch, *, hard_links: bool = True) -> None:
    """Until the test ends: an open file cannot be replaced, moved or deleted, a folder not flushed, nor a file by whom may only read it.

    A rename never replaces, and a name that Windows cannot hold is refused.
    """
    monkeypatch.setattr(portable, "ON_WINDOWS", True)
    monkeypatch.setattr(portable, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # as there, rmtree deletes by names
    keep = {"link", "symlink"} if hard_links else set()
    for name in LACKING:
        if name not in keep:
            monkeypatch.delattr(os, name, raising=False)
    real = {name: getattr(os, name) for name in ("open", "fsync", "rename", "replace", "unlink", "mkdir")}
    for name, function in (_openings(real) | _movings(real)).items():
        monkeypatch.setattr(os, name, function)


Functions = dict[str, Callable[..., Any]]


def _openings(real: Functions) -> Functions:
    """Return how files are opened and flushed by Windows' rules."""

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if isinstance(path, str | os.PathLike) and os.path.isdir(path):
            raise windows_error(5, path)
        return int(real["open"](path, flags, *rest, **named))

    def fsync(descriptor: int) -> None:
        import fcntl  # not there on Windows, where nothing of this is used

        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real["fsync"](descriptor)

    return {"open": open_, "fsync": fsync}


def _movings(real: Functions) -> Functions:
    """Return how files are made, moved and deleted by Windows' rules."""

    def rename(source: Any, target: Any) -> None:
        _refuse_held(source)
        _refuse_name(target)
        if os.path.lexists(target):
            raise windows_error(183, target)
        real["rename"](source, target)

    def replace(source: Any, target: Any) -> None:
        _refuse_held(source)
        _refuse_held(target)
        _refuse_name(target)
        if os.path.isdir(target):
            raise windows_error(5, target)
        real["replace"](source, target)

    def unlink(path: Any, **named: Any) -> None:
        _refuse_held(path)
        real["unlink"](path, **named)

    def mkdir(path: Any, *rest: Any, **named: Any) -> None:
        _refuse_name(path)
        real["mkdir"](path, *rest, **named)

    return {"rename": rename, "replace": replace, "unlink": unlink, "remove": unlink, "mkdir": mkdir}


def windows_error(code: int, path: Any) -> OSError:
    """Return the error that Windows raises with this number: 5 denied, 32 in use, 183 exists."""
    kind, number = {5: (PermissionError, errno.EACCES), 32: (PermissionError, errno.EACCES), 183: (FileExistsError, errno.EEXIST)}[code]
    error = kind(number, f"[WinError {code}]", str(path))
    error.winerror = code  # type: ignore[attr-defined]
    return error


def is_held(path: Path) -> bool:
    """Return whether this process holds a regular file open or mapped: this one, or any below this folder."""
    name, found = str(path), list[str]()
    for link in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{link}"))
        except OSError:
            continue
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    if name in maps:  # thousands of lines about libraries
        found += [line.split(maxsplit=5)[-1] for line in maps.splitlines() if name in line]
    return any(held == name or held.startswith(name + os.sep) for held in found if held.startswith(name) and stat.S_ISREG(_mode(held)))


def names_that_windows_cannot_hold(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the names below ``folder``: reserved, forbidden signs, equal but for capitals, paths over 200 characters."""
    seen: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if problem := portable.problem_of_name(path.name):
            yield f"{name}: {problem}"
        if (other := seen.setdefault(name.casefold(), path)) != path:
            yield f"{name}: the same as {other.name} where capitals do not count"
        if len(name) > 200:
            yield f"{name}: {len(name)} characters"


def _refuse_held(path: Any) -> None:
    """Raise what Windows raises where a file, or any file below a folder, is open."""
    full = Path(os.path.abspath(path))
    if not full.exists() or full.is_symlink():
        return
    if is_held(full):
        raise windows_error(32, path)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _refuse_name(path: Any) -> None:
    if problem := portable.problem_of_name(Path(path).name):
        raise OSError(errno.EINVAL, problem, str(path))

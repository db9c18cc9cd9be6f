"""What operating systems do differently, in one place: flushing, replacing, moving, linking, liveness, processes, memory, text output.

Windows is the odd one out: an open file can be neither replaced nor moved nor deleted, a folder cannot be flushed, a file only through a
descriptor that may write, `os.kill(pid, 0)` sends Ctrl+C, and redirected text is written in the language's old code page.
"""

from __future__ import annotations

import codecs
import errno
import filecmp
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict

import psutil

ON_WINDOWS = sys.platform == "win32"
#: what Windows answers while somebody (a scanner, an indexer, another tool) holds a file open: denied, shared, locked.
HELD_OPEN = {5, 32, 33}
#: how long a file that is held open is waited for, and the longest pause between two tries.
PATIENCE_SECONDS, LONGEST_PAUSE_SECONDS = 4.0, 0.4
#: what file systems without a folder flush answer to one (network shares, FUSE).
NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS}
#: how often a folder is put in another's place before that is done file by file.
TURNS = 5
#: characters of a path that Windows takes unless long paths are switched on; a folder must leave room for a short name.
LONGEST_PATH = 248
#: how Linux numbers the processes that are in no container
FIRST_PROCESSES = 4026531836
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
#: names under which Windows knows devices, in every folder and with every ending: a file or folder of that name cannot be made there.
DEVICE_NAMES = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$"} | {f"{port}{i}" for port in ("com", "lpt") for i in range(10)})
FORBIDDEN_IN_NAMES = frozenset('<>:"/\\|?*') | {chr(code) for code in range(32)}
#: signs without a counterpart in every code page, as plain letters; letters with accents lose them.
PLAIN_SIGNS = {
    "−": "-", "–": "-", "—": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "≠": "!=",
    "±": "+-", "✓": "yes", "✗": "no", "•": "*", "°": " degrees", "Δ": "delta",
}  # fmt: skip


# --- files ---------------------------------------------------------------------------------------------------------------


def flush_file(path: Path) -> None:
    """Make sure that the file's bytes are on the disk."""
    with path.open("r+b" if ON_WINDOWS else "rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Make sure that the names in the folder are on the disk, where the system can be asked to; Windows and some shares cannot."""
    if ON_WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
    finally:
        os.close(descriptor)


def append_bytes(path: Path, content: bytes) -> None:
    """Append ``content`` and flush it, under a lock: neither Windows nor a share finds a file's end and writes there in one step."""
    with locked(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes, also of other machines, out of a block about ``path``; the lock ends with its process, however that ends.

    It lies in a file beside ``path``. Where the disk knows no locks, or one is held for longer than a write ever takes, the block is run
    without: a record in two pieces is worth less than one that is missing, and reading leaves out what is not whole.
    """
    from filelock import FileLock, Timeout  # takes as long to import as the rest of the command line

    with ExitStack() as held:
        with suppress(Timeout, NotImplementedError, OSError):
            held.enter_context(FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE_SECONDS))
        yield


def replace(source: Path, target: Path) -> None:
    """Put the file ``source`` in the place of ``target``; where that is held open, wait some seconds for it to be let go."""
    _patiently(lambda: os.replace(source, target))


def move(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that is not taken; raises OSError where it is. What is held open is waited for."""
    _patiently(lambda: os.rename(source, target), give_up=target.exists)


def remove(path: Path) -> None:
    """Delete a file, if it is there; where it is held open, wait some seconds for it to be let go."""
    _patiently(lambda: path.unlink(missing_ok=True))


def replace_folder(source: Path, target: Path) -> None:
    """Put the folder ``source`` in the place of ``target`` and what it holds; where a file there is held open, file by file.

    Two processes may do so at once: the last one's stays. Raises OSError where a file that must change stays open.
    """
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex}.old")
    for _ in range(TURNS):
        with suppress(FileNotFoundError):
            try:
                os.rename(target, old)
            except PermissionError:
                if not ON_WINDOWS:
                    raise
                return _replace_files(source, target)
        shutil.rmtree(old, ignore_errors=True)
        try:
            return move(source, target)
        except OSError as error:  # another process has just put its own there
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    return _replace_files(source, target)


def _replace_files(source: Path, target: Path) -> None:
    """Put every file of ``source`` into ``target`` and remove what else stands there."""
    target.mkdir(parents=True, exist_ok=True)
    wanted = {file.relative_to(source) for file in source.rglob("*") if file.is_file()}
    for file in wanted:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        if not _same_bytes(source / file, target / file):  # what stays as it is may stay open
            replace(source / file, target / file)
    for file in [file for file in target.rglob("*") if file.is_file()]:
        if file.relative_to(target) not in wanted:
            remove(file)
    shutil.rmtree(source, ignore_errors=True)


def _same_bytes(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the file ``source`` under a second name, or a copy of it where the disk knows no hard links.

    What is the same file already is left alone, so that a tool may keep it open.
    """
    if target.exists() and target.samefile(source):
        return
    remove(target)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def is_held_open(error: OSError) -> bool:
    """Return whether Windows refused because somebody holds the file open."""
    return getattr(error, "winerror", None) in HELD_OPEN


def _patiently(attempt: Callable[[], None], give_up: Callable[[], bool] = lambda: False) -> None:
    """Try until it works, Windows refuses for another reason than a file held open, or patience ends."""
    pause, end = 0.01, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except OSError as error:
            if not is_held_open(error) or give_up() or time.monotonic() > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def problem_of_name(name: str) -> str:
    """Return why a file or folder of this name could not be made on Windows, or nothing."""
    if name.split(".")[0].rstrip(" ").casefold() in DEVICE_NAMES:
        return f"Windows reserves the name {name.split('.')[0]!r} for a device"
    if found := sorted(FORBIDDEN_IN_NAMES & set(name)):
        return f"Windows does not allow {found[0]!r} in names"
    return "Windows drops spaces and dots at the end of names" if name != name.rstrip(" .") else ""


# --- processes and memory ------------------------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs; one that has ended and was never asked for its exit code does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def machine_name() -> str:
    """Return what tells processes of this machine from those of others that share a disk: its name, and its container's own processes."""
    name = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())
    with suppress(OSError):
        if (own := os.stat("/proc/self/ns/pid").st_ino) != FIRST_PROCESSES:
            return f"{name}.{own}"
    return name


class Apart(TypedDict, total=False):
    """Arguments of `subprocess.Popen`."""

    start_new_session: bool
    creationflags: int


def apart() -> Apart:
    """Return the arguments of `subprocess.Popen` by which Ctrl+C in this process's terminal does not reach the new one."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this process may not outgrow."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = CONTAINER_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def load_average() -> float:
    """Return how many processes wanted a core in the last minute."""
    return float(psutil.getloadavg()[0])


def busy_cores(seconds: float = 0.2) -> float:
    """Return how many cores' worth of work this machine did during so many seconds; asked before work, what others do beside it."""
    return cores() * float(psutil.cpu_percent(interval=seconds)) / 100


def cores() -> int:
    """Return how many cores this machine has."""
    return os.cpu_count() or 1


# --- text on its way out -------------------------------------------------------------------------------------------------


def never_fail_to_print(*streams: Any) -> None:
    """Let the streams write what their code page lacks in plain signs, in place of an error; those in UTF-8 stay as they are."""
    codecs.register_error("loralab-plain", _in_plain_signs)
    for stream in streams:
        if hasattr(stream, "reconfigure") and not str(stream.encoding).casefold().startswith("utf"):
            stream.reconfigure(errors="loralab-plain")


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(sign) for sign in error.object[error.start : error.end]), error.end


def _plain(sign: str) -> str:
    """Return an ASCII spelling of one sign: a word, its letter without accents, or its number."""
    if sign in PLAIN_SIGNS:
        return PLAIN_SIGNS[sign]
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode("ascii")
    return letters or sign.encode("ascii", "backslashreplace").decode("ascii")

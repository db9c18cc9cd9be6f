"""`loralab`, or a script, in a process of its own without its eleven seconds of imports: a server that has imported everything forks each.

It can be killed as any other process. Where processes cannot be forked (Windows) it starts as it does from a shell; that it does start from
a shell is for other tests to see.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.forks import fork_nursery, forking, use_forks

SECONDS = 600


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """A program that was started; ``poll``, ``kill`` and ``wait`` as of a subprocess."""

    def __init__(self, program: str, words: tuple[str, ...], out: Path, cwd: Path | None = None, humble: bool = False) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, place = out, str(cwd or Path.cwd())
        self._process = forking().Process(target=_main, args=(program, words, str(out), place, dict(os.environ), humble))
        self._process.start()

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)

    def wait(self, timeout: float = SECONDS) -> Done:
        """Return what it came to."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
        assert code is not None, f"it still runs after {timeout:g} s"
        read = [(self.out / name).read_text(encoding="utf-8") if (self.out / name).is_file() else "" for name in ("stdout", "stderr")]
        return Done(code, *read)


def run(*words: str | Path, code: int | None = 0, cwd: Path | None = None, humble: bool = False) -> Done:
    """Return what `loralab WORDS` came to; ``humble``: root may then do only what the modes of its files allow (Linux).

    Fails where it does not end with ``code`` (None: whatever it ends with), or with a traceback.
    """
    done = _ended("loralab", words, cwd, humble)
    assert code is None or done.returncode == code, f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_python(script: str, *words: str | Path, cwd: Path | None = None) -> Done:
    """Return what `python -W ignore FILE WORDS` came to, where the file has this text; fails where it does not end with 0."""
    with tempfile.TemporaryDirectory(prefix="script-") as folder:
        (file := Path(folder) / "script.py").write_text(script, encoding="utf-8")
        done = _ended("python", (file, *words), cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def _ended(program: str, words: Sequence[str | Path], cwd: Path | None, humble: bool = False) -> Done:
    told = tuple(map(str, words))
    if os.name == "nt":
        command = [sys.executable, *(("-m", "loralab") if program == "loralab" else ("-W", "ignore")), *told]
        found = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=SECONDS, check=False, cwd=cwd)
        return Done(found.returncode, found.stdout, found.stderr)
    with _begun(program, told, cwd, humble) as running:
        return running.wait()


@contextmanager
def started(*words: str | Path) -> Iterator[Running]:
    """Yield `loralab WORDS`, running."""
    with _begun("loralab", tuple(map(str, words)), None, False) as running:
        yield running


@contextmanager
def _begun(program: str, words: tuple[str, ...], cwd: Path | None, humble: bool) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="command-") as out:
        running = Running(program, words, Path(out), cwd, humble)
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()


def kill_when(is_so: Callable[[], bool], *words: str | Path) -> None:
    """Start `loralab WORDS` and send SIGKILL as soon as something is so."""
    with started(*words) as running:
        deadline = time.monotonic() + SECONDS / 2
        while not is_so():
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        running.kill()


def _main(program: str, words: tuple[str, ...], out: str, place: str, variables: Mapping[str, str], humble: bool) -> None:
    """Be the program: its words, its folder, its environment, its threads, its streams and its rights."""
    import torch

    os.environ.clear()
    os.environ.update(variables)
    os.chdir(place)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(Path(out) / name, "wb") as file:
            os.dup2(file.fileno(), number)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 (until the process ends)
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    torch.set_num_threads(int(variables.get("OMP_NUM_THREADS") or torch.get_num_threads()))  # as torch does when it is imported
    if torch.get_num_threads() > 1:
        use_forks(pytest.MonkeyPatch(), fork_nursery())
    if humble:
        _drop_capabilities()
    PROGRAMS[program](list(words))


def _drop_capabilities() -> None:
    """Let root be an owner like any other: capset(2), version 3, nothing effective, permitted or inheritable."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _loralab(words: list[str]) -> None:
    from loralab.cli import main

    sys.argv = ["loralab", *words]
    main(words)


def _python(words: list[str]) -> None:
    warnings.simplefilter("ignore")
    sys.argv = list(words)
    runpy.run_path(words[0], run_name="__main__")


PROGRAMS: Mapping[str, Callable[[list[str]], None]] = {"loralab": _loralab, "python": _python}

"""Processes of a crew without their eleven seconds of imports: each is forked from one that has imported everything, and serves like any.

They are killed, closed and lost as those that start from a shell; that these do start is for `test_crew.py` to see.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from typing import IO, Any

from loralab import crew
from loralab.quiet import quiet_libraries

#: everything that a study, a check and an export import
IMPORTED = ["loralab.cli", "loralab.engine.whole", "loralab.engine.estimate", "loralab.checking.writing", "loralab.exporting.study"]


def forking() -> Any:
    """Return what starts processes from a server that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


class Nursery:
    """The process from which others are forked; it ends with the one that holds the other end of its channel."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel, self._turn = channel, threading.Lock()

    def fork(self, threads: int) -> Forked:
        """Return a new process, which answers what is written to its standard input."""
        (its_in, our_in), (our_out, its_out) = os.pipe(), os.pipe()
        pid = self._ask(f"fork {threads}", its_in, its_out)
        os.close(its_in)
        os.close(its_out)
        return Forked(self, int(pid), os.fdopen(our_in, "wb"), os.fdopen(our_out, "rb"))

    def code(self, pid: int) -> int | None:
        """Return a process's exit code, negative for a signal; None while it runs."""
        answer = self._ask(f"code {pid}")
        return None if answer == "runs" else int(answer)

    def close(self) -> None:
        """Let it end."""
        self.channel.close()

    def _ask(self, words: str, *ends: int) -> str:
        with self._turn:  # a crew asks from several threads
            socket.send_fds(self.channel, [words.encode()], ends)
            return self.channel.recv(64).decode()


class Forked:
    """A forked process; what `loralab.crew` asks of a subprocess."""

    def __init__(self, nursery: Nursery, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.nursery, self.pid, self.stdin, self.stdout = nursery, pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        if self.returncode is None:
            self.returncode = self.nursery.code(self.pid)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit code; raises as a subprocess does where there is none yet."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("forked", timeout)
            time.sleep(0.002)
        return code

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> None:
        """Close both ends and wait."""
        for end in (self.stdin, self.stdout):
            with suppress(OSError):  # what was still to be written: nobody reads it
                end.close()
        self.wait()


def start_nursery() -> Nursery:
    """Return a nursery beside this process, started by the server."""
    ours, its = socket.socketpair()
    forking().Process(target=nurse, args=(its,), daemon=True).start()
    its.close()
    return Nursery(ours)


def fork_nursery() -> Nursery:
    """Return a nursery that is forked from this very process, which must not have begun any work yet."""
    ours, its = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        nurse(its)
    its.close()
    return Nursery(ours)


def nurse(channel: socket.socket) -> None:
    """Fork whenever asked, say how what was forked has ended, and end when nobody can ask any more."""
    codes: dict[int, str] = {}
    while True:
        words, ends, _, _ = socket.recv_fds(channel, 64, 2)
        if not words:
            os._exit(0)
        verb, number = words.decode().split()
        if verb == "fork":
            if (pid := os.fork()) == 0:
                channel.close()
                _serve(ends[0], ends[1], int(number))
            for end in ends:
                os.close(end)
            channel.sendall(str(pid).encode())
        else:
            channel.sendall(_code(int(number), codes).encode())


def _code(pid: int, codes: dict[int, str]) -> str:
    if pid not in codes:
        found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            return "runs"
        codes[pid] = str(os.waitstatus_to_exitcode(status))
    return codes[pid]


def _serve(its_in: int, its_out: int, threads: int) -> None:
    """Be a process of a crew."""
    import torch

    code = 1
    try:
        os.dup2(its_in, 0)
        os.dup2(its_out, 1)
        for end in (its_in, its_out):
            os.close(end)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (until the process ends)
        warnings.simplefilter("ignore")
        torch.set_num_threads(threads)
        with quiet_libraries(every_logger=True):
            crew._serve()
        code = 0
    finally:
        os._exit(code)


def use_forks(patch: Any, nursery: Nursery) -> None:
    """Let crews fork their processes, by a `pytest.MonkeyPatch` or what has its ``setattr``."""

    class Worker(crew._Worker):
        def __init__(self, threads: int) -> None:
            self.process: Any = nursery.fork(threads)
            self.holds: set[int] = set()

    patch.setattr(crew, "_Worker", Worker)

"""Processes beside this one: a function and its calls in, results in the order of the calls out.

For work that would hold Python's lock or share small operators between threads: training a part of a stack, drawing a batch, measuring.
The processes read calls from their standard input and end with it, so that none outlives the one that started them, however that one ends.
They start afresh, without a copy of torch's threads or of a user's script.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isgenerator
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

from loralab.errors import lab_error
from loralab.portable import apart

Value = TypeVar("Value")
Result = TypeVar("Result")
Passed = TypeVar("Passed")

MOST = 8
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Lent:
    """Stands in a call for a value that a process has been sent before."""

    number: int


class Crew:
    """``n`` processes with ``threads`` of torch each, started when they are first needed; with one, all work is done in this process."""

    def __init__(self, n: int = 1, threads: int = 1) -> None:
        self.n = max(1, min(MOST, n))
        self.threads = max(1, threads)
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._workers: list[_Worker] = []
        self._lent: dict[int, tuple[Lent, Any]] = {}  # by identity; holding the value keeps its identity its own

    @property
    def started(self) -> bool:
        """Whether processes are there already, so that a few calls are worth handing over."""
        return bool(self._workers)

    def lend(self, value: Value) -> Value:
        """Return what stands for ``value`` as an argument of calls: each process is sent it once, and must not change it."""
        if self.n == 1:
            return value
        lent, _ = self._lent.setdefault(id(value), (Lent(len(self._lent)), value))
        return lent  # type: ignore[return-value]  # the process puts the value in its place

    @contextmanager
    def results(self, function: Callable[..., Result], calls: Sequence[tuple[Any, ...]]) -> Iterator[Iterator[Result]]:
        """Start the calls and yield what iterates over ``function(*call)`` of each, in order.

        They run while the block does something else; with one process each runs here, when its turn comes. ``function`` (of a module, or a
        partial of one), calls and results are pickled. What a call raises is raised when its turn comes; where the block ends early, what
        has not begun is dropped. Raises LabError("measurement") where a process ends by itself.
        """
        if self.n == 1:
            yield (function(*call) for call in calls)
            return
        self._start()
        with ThreadPoolExecutor(self.n) as threads:
            try:
                yield threads.map(lambda call: self._result(function, call), calls)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def generators(
        self, function: Callable[..., Generator[Passed, None, Result]], calls: Sequence[tuple[Any, ...]]
    ) -> list[Generator[Passed, None, Result]]:
        """Start a generator function once a call, each in a process of its own (at most n calls); return what passes on their values.

        A generator that is given up ends its process.
        """
        assert len(calls) <= self.n
        if self.n == 1:
            return [function(*call) for call in calls]
        self._start()
        workers = [self._free.get() for _ in calls]
        with ThreadPoolExecutor(len(calls)) as threads:  # all at once: each takes its first call only when it has imported torch
            list(threads.map(lambda worker, call: worker.ask(function, call, self._lent), workers, calls))
        passing = [self._passing(worker) for worker in workers]
        for each in passing:
            next(each)
        return passing

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()
        self._workers, self._free = [], SimpleQueue()

    def _start(self) -> None:
        while len(self._workers) < self.n:
            worker = _Worker(self.threads)
            self._workers.append(worker)
            self._free.put(worker)

    def _result(self, function: Callable[..., Result], call: tuple[Any, ...]) -> Result:
        worker = self._free.get()
        try:
            worker.ask(function, call, self._lent)
            while True:
                kind, value = worker.answer()
                if kind == "end":
                    return value  # type: ignore[no-any-return]
        finally:
            self._free.put(worker)

    def _passing(self, worker: _Worker) -> Generator[Any, None, Any]:
        ended = False
        try:
            yield None  # begun: what was never begun could not be closed, and its process would be lost
            while True:
                kind, value = worker.answer()
                if kind == "end":
                    ended = True
                    return value
                yield value
        finally:
            if ended:
                self._free.put(worker)
            else:
                worker.end()
                self._workers.remove(worker)


#: no process beside this one
ALONE = Crew()


@contextmanager
def crew_of(n: int, threads: int = 1) -> Iterator[Crew]:
    """Give the block a crew of ``n`` processes that share ``threads``; they end with it."""
    crew = Crew(n, threads // max(1, n))
    try:
        yield crew
    finally:
        crew.close()


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use ``n`` threads in the block: where other processes hold the cores, threads wait for one another at every operation."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Worker:
    """One process, and what it has been lent."""

    def __init__(self, threads: int) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": paths} | dict.fromkeys(THREAD_VARIABLES, str(threads))
        # apart: what interrupts this process ends it by the block, without its last words on the screen
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
            **apart(),
        )  # fmt: skip
        self.holds: set[int] = set()

    def ask(self, function: Callable[..., Any], call: tuple[Any, ...], lent: Mapping[int, tuple[Lent, Any]]) -> None:
        values = {each.number: value for each, value in list(lent.values())}
        try:
            for argument in call:
                if isinstance(argument, Lent) and argument.number not in self.holds:
                    self._send(("keep", argument.number, values[argument.number]))
                    self.holds.add(argument.number)
            self._send(("call", function, call))
        except OSError as gone:  # a broken pipe; Windows calls it an invalid argument
            raise self._lost() from gone

    def answer(self) -> tuple[Literal["next", "end"], Any]:
        """Return the next answer; raises what the call raised."""
        assert self.process.stdout is not None
        try:
            kind, value = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError) as gone:
            raise self._lost() from gone
        if kind == "error":
            raise value
        return kind, value

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _send(self, message: tuple[Any, ...]) -> None:
        assert self.process.stdin is not None
        pickle.dump(message, self.process.stdin, pickle.HIGHEST_PROTOCOL)
        self.process.stdin.flush()

    def _lost(self) -> Exception:
        try:
            code = self.process.wait(timeout=5)  # it has closed its end, and is about to be gone
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        found = f"a worker process ended with code {code}"
        return lab_error("measurement", found, "an answer", "run the same command again: finished work is kept")


def _serve() -> None:
    """Answer calls until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not stand between two answers
    kept: dict[int, Any] = {}
    while True:
        try:
            kind, *rest = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):  # whoever asks is gone, perhaps in the middle of a question
            return
        try:
            if kind == "keep":
                kept[rest[0]] = rest[1]
                continue
            function, call = rest
            for answer in _answers(function, tuple(kept[each.number] if isinstance(each, Lent) else each for each in call)):
                answers.write(_pickled(answer))
                answers.flush()
        except OSError:  # nobody is left to answer
            os._exit(1)


def _pickled(answer: tuple[str, Any]) -> bytes:
    """Return the answer's bytes; of one that cannot be pickled, what it was."""
    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        kind, value = answer
        words = "".join(traceback.format_exception(value)) if isinstance(value, BaseException) else f"{type(value).__name__}: {error}"
        told = lab_error(
            "measurement", f"an answer ({kind}) that cannot be passed between processes: {words}", "an answer that can be pickled"
        )
        return pickle.dumps(("error", told), pickle.HIGHEST_PROTOCOL)


def _answers(function: Callable[..., Any], call: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    try:
        result = function(*call)
        if isgenerator(result):
            while True:
                try:
                    value = next(result)
                except StopIteration as end:
                    result = end.value
                    break
                yield "next", value
        yield "end", result
    except Exception as error:  # carried over to the one who asked, and raised there
        error.add_note(traceback.format_exc())  # where it came from, which pickling leaves behind
        yield "error", error


if __name__ == "__main__":
    from loralab.crew import _serve as serve  # so that `Lent` is the class that this process's callers know
    from loralab.quiet import quiet_libraries

    with quiet_libraries(every_logger=True):  # what a library says while it is imported here reaches the same screen
        serve()

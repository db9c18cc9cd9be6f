"""Work in processes beside this one: a function and its calls in, results in the order of the calls out.

For work that holds one core and Python's lock (instruments). The processes read calls from their standard input and end with it, so that
none outlives the one that started them, however that one ends. They start afresh, without a copy of torch's threads or of a user's script.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeVar

from loralab.errors import lab_error

Result = TypeVar("Result")

MOST = 8
#: a process takes about as long to start as so many calls take
LEAST_CALLS = 32


def processes_for(n_calls: int, threads: int) -> int:
    """Return how many processes ``n_calls`` are worth, at most one a thread that the caller may use."""
    return max(1, min(MOST, threads, n_calls // LEAST_CALLS))


@contextmanager
def beside(function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], n_processes: int) -> Iterator[Iterator[Result]]:
    """Start the calls and yield what iterates over ``function(*call)`` of each, in order.

    They run in ``n_processes`` others while the block does something else; with one process each runs here, when its turn comes.
    ``function``, the calls and the results are pickled: the function is one of a module, or a partial of one. What a call raises is raised
    when its turn comes; where the block ends early, what has not begun is dropped. Raises LabError("measurement") where a process ends by
    itself.
    """
    if n_processes <= 1:
        yield (function(*call) for call in calls)
        return
    free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    with _processes(function, n_processes) as processes, ThreadPoolExecutor(n_processes) as threads:
        for process in processes:
            free.put(process)
        try:
            yield threads.map(lambda call: _ask(free, call), calls)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _processes(function: Callable[..., Any], n: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start n processes that hold ``function``; they end with the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
    # in a session of their own: what interrupts this process ends them by this block, without their last words on the screen
    processes = [subprocess.Popen([sys.executable, "-m", __name__], start_new_session=True, **pipes) for _ in range(n)]
    try:
        for process in processes:
            _send(process, function)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _send(process: subprocess.Popen[bytes], value: Any) -> None:
    assert process.stdin is not None
    pickle.dump(value, process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()


def _ask(free: SimpleQueue[subprocess.Popen[bytes]], call: tuple[Any, ...]) -> Any:
    process = free.get()
    try:
        _send(process, call)
        assert process.stdout is not None
        result, error = pickle.load(process.stdout)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError) as gone:
        process.kill()  # changes nothing where it has ended
        found = f"a process beside this one ended with code {process.wait()}"
        raise lab_error("measurement", found, "an answer", "run the same command again: what was done is kept") from gone
    finally:
        free.put(process)
    if error is not None:
        raise error
    return result


def _serve() -> None:
    """Answer calls until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not stand between two answers
    function = pickle.load(sys.stdin.buffer)
    while True:
        try:
            call = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            pickle.dump(_answer(function, call), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:  # nobody is left to answer
            os._exit(1)


def _answer(function: Callable[..., Any], call: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return function(*call), None
    except Exception as error:  # carried over to the one who asked, and raised there
        return None, error


if __name__ == "__main__":
    _serve()

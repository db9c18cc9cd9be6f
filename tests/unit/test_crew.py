"""Work in other processes: the results of this one in its order, errors where they belong, and nobody left behind."""

from __future__ import annotations

import logging
import math
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loralab.crew import Crew, crew_of
from loralab.errors import LabError, lab_error
from loralab.measure.companions import petri_companion
from loralab.measure.files import measure_files
from loralab.portable import is_alive


@pytest.mark.parametrize("n_processes", [1, 3])
def test_results_come_in_the_order_of_the_calls(n_processes: int):
    with crew_of(n_processes) as crew, crew.results(math.sqrt, [(n * n,) for n in range(50)]) as found:
        assert list(found) == list(range(50))


def test_the_calls_run_beside_this_process_and_not_in_it():
    with crew_of(2) as crew, crew.results(os.getpid, [()] * 8) as found:
        pids = set(found)
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_error_is_raised_when_its_turn_comes(n_processes: int):
    with crew_of(n_processes) as crew, crew.results(math.sqrt, [(4,), (-1,), (9,)]) as found:
        assert next(found) == 2
        with pytest.raises(ValueError, match=r"domain|nonnegative"):
            next(found)


def test_a_process_that_ends_by_itself_is_an_error_for_the_user():
    with crew_of(2) as crew, crew.results(os._exit, [(3,)]) as found, pytest.raises(LabError, match="ended with code 3"):
        next(found)


def test_a_block_that_ends_early_leaves_no_process():
    with crew_of(2) as crew, crew.results(time.sleep, [(0.05,)] * 500) as found:
        next(found)
        before = time.monotonic()
    assert time.monotonic() - before < 10  # and not the 12 s of all that had not begun


def test_the_processes_of_a_killed_process_end_by_themselves():
    script = "import os, time\nfrom loralab.crew import crew_of\nwith crew_of(2) as crew, crew.results(os.getpid, [()] * 20) as found:\n"
    script += "    print(*set(found), flush=True)\n    time.sleep(60)"
    paths = os.pathsep.join(path for path in sys.path if path)
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, "PYTHONPATH": paths}
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while pids and time.monotonic() < deadline:
        pids = [pid for pid in pids if is_alive(pid)]
        time.sleep(0.05)
    assert pids == []


@pytest.mark.usefixtures("one_thread")
def test_readings_are_the_same_wherever_they_are_taken(tmp_path: Path):
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{index}.png" for index in range(6)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    asked = [("chroma", "", ""), ("change", "", ""), ("copy_distance", "mine", ""), ("concept", "", "cat"), ("grid_present", "", "")]
    training = {"mine": rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)}
    concepts = {"cat": petri_companion().concept("cat")}
    calls = [(files[:2], files[2:4]), (files[2:4], files[4:])]
    expected = [measure_files(asked, training, concepts, *call) for call in calls]
    with crew_of(2) as crew:
        there_calls = [(asked, crew.lend(training), crew.lend(concepts), *call) for call in calls]
        with crew.results(measure_files, there_calls) as there:
            assert list(there) == expected
    assert [len(readings) for readings in expected[0]] == [2] * 5
    assert any(reading.value is not None for readings in expected[0] for reading in readings)


def test_what_is_lent_is_sent_once_to_each_process():
    class Counted(dict):
        sent = 0

        def __reduce__(self):
            Counted.sent += 1
            return dict, (dict(self),)

    value = Counted(a=1)
    with crew_of(2) as crew:
        for _ in range(3):
            with crew.results(sorted, [(crew.lend(value),)] * 8) as found:
                assert list(found) == [["a"]] * 8
    assert 1 <= Counted.sent <= 2
    assert Crew().lend(value) is value


def test_generators_run_beside_each_other_and_pass_on_what_they_yield():
    with crew_of(2) as crew:
        first, second = crew.generators(os.walk, [("/nowhere",), (os.path.dirname(__file__),)])
        with pytest.raises(StopIteration):
            next(first)
        assert next(second) == next(os.walk(os.path.dirname(__file__)))
        second.close()
        with crew.results(os.getpid, [()] * 8) as found:  # the crew is whole again
            assert os.getpid() not in set(found)


def test_an_error_in_a_generator_is_raised_where_it_is_read():
    with crew_of(2) as crew:
        (walk,) = crew.generators(os.fwalk, [(3.5,)])
        with pytest.raises(TypeError, match="float"):
            next(walk)


def test_a_generator_that_is_given_up_unread_leaves_the_crew_whole():
    with crew_of(2) as crew:
        for _ in range(2):  # the second time would wait for ever for a process that was lost the first time
            first, second = crew.generators(os.fwalk, [(3.5,), (os.path.dirname(__file__),)])
            with pytest.raises(TypeError, match="float"):
                next(first)
            second.close()
            crew._start()


def test_an_answer_that_cannot_be_pickled_is_an_error_and_ends_no_process():
    with crew_of(2) as crew:
        with crew.results(threading.Lock, [()]) as found, pytest.raises(LabError, match="cannot be passed between processes"):
            next(found)
        with crew.results(math.sqrt, [(4,)] * 4) as found:
            assert list(found) == [2] * 4


def test_an_error_says_where_it_came_from():
    with crew_of(2) as crew, crew.results(os.path.getsize, [("/nowhere",)]) as found, pytest.raises(FileNotFoundError) as caught:
        next(found)
    assert any("genericpath" in note for note in caught.value.__notes__)


def test_files_of_the_folder_that_one_works_in_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "queue.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with crew_of(2) as crew, crew.results(math.sqrt, [(4,)]) as found:
        assert next(found) == 2


def test_an_error_of_the_lab_comes_through_a_pickle():
    error = pickle.loads(pickle.dumps(lab_error("data", "a", "b", "c", "d")))
    assert isinstance(error, LabError)
    assert (error.kind, str(error), error.exit_code) == ("data", "d: a\n  expected: b\n  hint: c", 2)


@pytest.mark.parametrize(
    "sent", [pickle.dumps(("call", math.sqrt, (4.0,)))[:-9], pickle.dumps(("call", logging.error, ("a library's remark",)))]
)
def test_a_process_prints_nothing_of_a_cut_off_question_or_of_what_libraries_log(sent: bytes):
    done = subprocess.run([sys.executable, "-m", "loralab.crew"], input=sent, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")

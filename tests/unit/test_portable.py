"""What operating systems do differently: each rule of Windows, held against the one layer that knows of them."""

import errno
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loralab import portable
from loralab.errors import LabError
from loralab.store import Store, append_line, disk_errors, read_lines, write_atomically

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Windows' rules are simulated by what Linux tells of open files")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.windows import apply_windows_rules

    apply_windows_rules(monkeypatch)


def let_go_after(seconds: float, path: Path) -> threading.Thread:
    """Hold ``path`` open in another thread for so long."""
    file = path.open("rb")

    def wait() -> None:
        time.sleep(seconds)
        file.close()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# --- the simulation itself refuses what Windows refuses --------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [lambda a, b: a.replace(b), lambda a, b: a.rename(b), lambda a, b: a.unlink(), lambda a, b: b.unlink(), lambda a, b: b.replace(a)],
)
def test_an_open_file_can_be_neither_replaced_nor_moved_nor_deleted(windows: None, tmp_path: Path, act: Callable[[Path, Path], None]):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    with one.open("rb"), other.open("rb"), pytest.raises(OSError, match="WinError"):
        act(one, other)


def test_a_folder_with_an_open_file_stays(windows: None, tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"1")
    with (tmp_path / "a" / "file").open("rb"), pytest.raises(PermissionError):
        (tmp_path / "a").rename(tmp_path / "b")


def test_a_folder_cannot_be_flushed_nor_a_file_that_may_only_be_read(windows: None, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(PermissionError):
        os.open(tmp_path, os.O_RDONLY)
    with (tmp_path / "file").open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        os.fsync(file.fileno())


# --- the layer ------------------------------------------------------------------------------------------------------------


def test_everything_that_the_store_does_works_under_these_rules(windows: None, tmp_path: Path):
    store = Store(tmp_path / "store")
    with store.publish("images", "k1", {"seeds": [1]}) as scratch:
        (scratch / "inner").mkdir()
        (scratch / "inner" / "a.png").write_bytes(b"pixels")
    with store.publish("images", "k1", {"seeds": [1]}) as scratch:  # the second of one key is dropped
        (scratch / "a.png").write_bytes(b"other")
    assert (store.path("images", "k1") / "inner" / "a.png").read_bytes() == b"pixels"
    assert not (store.path("images", "k1") / "a.png").exists()
    write_atomically(tmp_path / "verdicts.json", b"old")
    write_atomically(tmp_path / "verdicts.json", b"new")
    append_line(tmp_path / "ledger.jsonl", {"attempt": 1})
    assert (tmp_path / "verdicts.json").read_bytes() == b"new"
    assert read_lines(tmp_path / "ledger.jsonl") == [{"attempt": 1}]
    assert list((tmp_path / "store" / "scratch").iterdir()) == []


def test_a_file_that_a_scanner_holds_for_a_moment_is_waited_for(windows: None, tmp_path: Path):
    path = tmp_path / "verdicts.json"
    write_atomically(path, b"old")
    thread = let_go_after(0.1, path)
    write_atomically(path, b"new")
    thread.join()
    assert path.read_bytes() == b"new"


def test_a_file_that_stays_open_is_named_and_keeps_its_old_bytes(windows: None, tmp_path: Path):
    path = tmp_path / "verdicts.json"
    write_atomically(path, b"old")
    with path.open("rb"), pytest.raises(LabError, match="another program has it open"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["verdicts.json"]


def test_a_file_that_would_stay_as_it_is_may_stay_open(windows: None, tmp_path: Path):
    for name in ("new", "summary"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "seen.png").write_bytes(b"pixels")
        (tmp_path / name / "text.md").write_text(name, encoding="utf-8")
    with (tmp_path / "summary" / "seen.png").open("rb"):
        portable.replace_folder(tmp_path / "new", tmp_path / "summary")
    assert (tmp_path / "summary" / "text.md").read_text(encoding="utf-8") == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["summary"]


def test_a_folder_is_replaced_file_by_file_where_one_of_them_is_open(windows: None, tmp_path: Path):
    new, old = tmp_path / "new", tmp_path / "summary"
    for folder, names in ((new, ("a", "b")), (old, ("a", "gone", "seen"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(folder.name, encoding="utf-8")
    (new / "seen").write_text("new", encoding="utf-8")
    thread = let_go_after(0.1, old / "seen")
    portable.replace_folder(new, old)
    thread.join()
    assert {item.name: item.read_text(encoding="utf-8") for item in old.iterdir()} == {"a": "new", "b": "new", "seen": "new"}
    assert [item.name for item in tmp_path.iterdir()] == ["summary"]


@pytest.mark.parametrize("rules", [True, False])
def test_a_folder_takes_the_place_of_another(rules: bool, tmp_path: Path, request: pytest.FixtureRequest):
    if rules:
        request.getfixturevalue("windows")
    for turn in ("one", "two"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / turn).write_bytes(b"")
        portable.replace_folder(tmp_path / "new", tmp_path / "summary")
    assert [item.relative_to(tmp_path).as_posix() for item in tmp_path.rglob("*")] == ["summary", "summary/two"]


def test_a_link_is_made_once_and_left_alone_while_a_tool_has_the_file_open(windows: None, tmp_path: Path):
    source, target = tmp_path / "adapter.safetensors", tmp_path / "arm-r0.safetensors"
    source.write_bytes(b"weights")
    portable.link_or_copy(source, target)
    assert target.samefile(source)
    with target.open("rb"):
        portable.link_or_copy(source, target)
    assert target.read_bytes() == b"weights"


def test_where_the_disk_knows_no_hard_links_the_file_is_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "not on this disk")))
    (tmp_path / "a").write_bytes(b"weights")
    portable.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"weights"
    assert not (tmp_path / "b").samefile(tmp_path / "a")


def test_a_share_that_cannot_flush_a_folder_is_written_to_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    portable.flush_folder(tmp_path)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match="Invalid"):
        portable.flush_file(tmp_path / "a")


def test_a_path_that_is_too_long_is_said_to_be(tmp_path: Path):
    with pytest.raises(LabError, match="more than this system allows"), disk_errors("writing images"):
        (tmp_path / ("x" * 300)).write_bytes(b"")


@pytest.mark.parametrize(
    "name", ["con", "AUX.txt", "nul .png", "com1", "lpt9.safetensors", "a:b", "what?", 'say "hi"', "dot.", "space ", "a\nb"]
)
def test_names_that_windows_cannot_hold(name: str):
    assert portable.problem_of_name(name)


@pytest.mark.parametrize("name", ["console", "arm-r0.safetensors", ".hidden", "com10", "a b (1).png", "Überraschung.txt", "комета"])
def test_names_that_it_can(name: str):
    assert portable.problem_of_name(name) == ""


# --- processes, memory, text ------------------------------------------------------------------------------------------------


def test_a_process_is_told_to_live_without_a_signal(windows: None):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, **portable.apart())
    assert portable.is_alive(child.pid)
    child.kill()
    while child.pid and portable.is_alive(child.pid):  # killed and not yet asked for: gone
        time.sleep(0.01)
    child.communicate()
    assert not portable.is_alive(child.pid)
    assert portable.is_alive(os.getpid())


@pytest.mark.parametrize(("limit", "expected"), [("1048576\n", 2**20), ("max\n", None), (None, None)])
def test_memory_is_the_containers_where_that_is_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str | None, expected: int | None
):
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit, encoding="ascii")
    monkeypatch.setattr(portable, "CONTAINER_LIMIT", tmp_path / "memory.max")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert portable.memory_bytes() == pytest.approx(expected or total, rel=1e-3)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "−1 ✓ ≥ é комета"),
        ("cp1252", "-1 yes >= é \\u043a\\u043e\\u043c\\u0435\\u0442\\u0430"),
        ("ascii", "-1 yes >= e \\u043a\\u043e\\u043c\\u0435\\u0442\\u0430"),
    ],
)
def test_no_sign_ends_a_command_in_any_code_page(encoding: str, expected: str):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    portable.never_fail_to_print(stream)
    stream.write("−1 ✓ ≥ é комета")
    stream.flush()
    assert raw.getvalue().decode(encoding) == expected


# --- nobody goes past it ----------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2] / "src" / "loralab"
#: what behaves differently on Windows, or is not there: only the layer may name it
ELSEWHERE = re.compile(
    r"os\.(kill|fsync|rename|replace|link|symlink|fork|sysconf|getloadavg|umask|sched_\w+|gete?[ug]id)\(|\b(fcntl|resource|pwd|grp)\.\w|"
    r"\b(scratch|unfinished|path|file|target|source|folder)\.(rename|replace)\(\w+\)|hardlink_to|symlink_to|start_new_session|getlocale"
)


def test_what_systems_do_differently_stands_in_one_file():
    files = [file for file in ROOT.rglob("*.py") if file.name != "portable.py" and "petri" not in file.parts]
    lines = [(file, line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert [f"{file.relative_to(ROOT)}: {line.strip()}" for file, line in lines if ELSEWHERE.search(line)] == []


@pytest.mark.parametrize("line", ["os.kill(pid, 0)", "scratch.rename(target)", "target.hardlink_to(source)", "x = os.sysconf('A')"])
def test_what_goes_past_it_is_found(line: str):
    assert ELSEWHERE.search(line)

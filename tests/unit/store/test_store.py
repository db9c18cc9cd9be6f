"""The store: whole or absent, whoever is killed, whoever else writes."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.portable import machine_name
from loralab.store import Store, append_line, artefact_key, disk_errors, find_lab, read_lines, write_atomically


def test_keys_depend_on_every_part_and_not_on_the_order_of_keys():
    one = artefact_key("train", 1, {"a": 1, "b": 2}, ["x"])
    assert one == artefact_key("train", 1, {"b": 2, "a": 1}, ["x"])
    others = [
        artefact_key("train", 2, {"a": 1, "b": 2}, ["x"]),
        artefact_key("draw", 1, {"a": 1, "b": 2}, ["x"]),
        artefact_key("train", 1, {"a": 1, "b": 3}, ["x"]),
        artefact_key("train", 1, {"a": 1, "b": 2}, ["y"]),
    ]
    assert len({one, *others}) == 5


def test_nan_is_no_key():
    with pytest.raises(ValueError, match="Out of range"):
        artefact_key("train", 1, {"lr": float("nan")})


def test_what_is_published_is_there_and_reads_back(tmp_path: Path):
    store = Store(tmp_path / "store")
    with store.publish("images", "k1", {"seeds": [1, 2]}) as scratch:
        (scratch / "a.png").write_bytes(b"pixels")
        assert not store.has("images", "k1")
    assert store.has("images", "k1")
    assert store.manifest("images", "k1") == {"seeds": [1, 2]}
    assert (store.path("images", "k1") / "a.png").read_bytes() == b"pixels"
    assert store.keys("images") == ["k1"]
    assert store.kinds() == ["images"]


def test_a_failure_inside_leaves_nothing(tmp_path: Path):
    store = Store(tmp_path / "store")

    def fail_half_way() -> None:
        with store.publish("images", "k1", {}) as scratch:
            (scratch / "a.png").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert not store.path("images", "k1").exists()
    assert list((tmp_path / "store" / "scratch").iterdir()) == []


def test_two_writers_of_one_key_do_not_harm_each_other(tmp_path: Path):
    store, barrier = Store(tmp_path / "store"), threading.Barrier(8)

    def write(number: int) -> None:
        with store.publish("images", "same", {"by": "all"}) as scratch:
            (scratch / "a.png").write_bytes(b"the same bytes")
            barrier.wait()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.manifest("images", "same") == {"by": "all"}
    assert sorted(item.name for item in store.path("images", "same").iterdir()) == ["a.png", "manifest.json"]


KILLED = """
import sys, time
from pathlib import Path
from loralab.store import Store
with Store(Path(sys.argv[1])).publish("images", "k1", {}) as scratch:
    (scratch / "a.png").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_process_killed_while_writing_leaves_no_artefact_and_its_scratch_is_swept(tmp_path: Path):
    root = tmp_path / "store"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().split() == [b"writing"]
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(list((root / "scratch").iterdir())) == 1
    assert not Store(root).has("images", "k1")
    assert list((root / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "days", "stays"),
    [
        ("{here}-{dead}-aa-bb", 0, False), ("{here}-{me}-aa-bb", 0, False), ("{here}-{parent}-aa-bb", 1, True),
        ("{here}-{parent}-aa", 15, False), ("{here}x-{dead}-aa", 1, True), ("{here}.77-{dead}-aa", 1, True),
        ("node-2-{dead}-aa", 1, True), ("elsewhere-{me}-aa", 13, True), ("elsewhere-{me}-aa", 15, False), ("not ours", 1, True),
    ],
)  # fmt: skip
def test_a_shared_folder_is_swept_of_what_is_dead_here_or_long_forgotten_elsewhere(tmp_path: Path, name: str, days: int, stays: bool):
    """A process number says nothing about another machine, nor about one whose name only begins like this one's; this process's own may
    have been an earlier one's, as that of a container's first process always is."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    root = tmp_path / "store"
    Store(root)
    folder = root / "scratch" / name.format(here=machine_name(), dead=gone.pid, me=os.getpid(), parent=os.getppid())
    folder.mkdir()
    os.utime(folder, (time.time() - days * 86400,) * 2)
    Store(root)
    assert folder.exists() == stays


def test_a_fresh_file_in_an_old_scratch_folder_keeps_it(tmp_path: Path):
    root = tmp_path / "store"
    Store(root)
    folder = root / "scratch" / "elsewhere-1-aa"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"fresh")
    os.utime(folder, (0, 0))
    Store(root)
    assert folder.exists()


def test_two_machines_of_one_name_in_containers_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("socket.gethostname", lambda: "gpu-node/1")
    assert re.fullmatch(r"gpu_node_1(\.\d+)?", machine_name())
    monkeypatch.setattr("loralab.portable.FIRST_PROCESSES", -1)
    assert sys.platform != "linux" or re.fullmatch(r"gpu_node_1\.\d+", machine_name())


def test_a_share_that_says_no_to_a_rename_which_it_has_done_is_believed_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """An answer lost on the way makes NFS ask again, and the second time the source is gone."""
    store = Store(tmp_path / "store")
    rename = os.rename

    def twice(source: Path, target: Path) -> None:
        rename(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", twice)
    with store.publish("images", "k1", {"seeds": [1]}) as scratch:
        (scratch / "a.png").write_bytes(b"pixels")
    assert store.manifest("images", "k1") == {"seeds": [1]}


def test_the_scratch_of_a_living_process_is_left_alone(tmp_path: Path):
    store = Store(tmp_path / "store")
    with store.publish("images", "k1", {}) as scratch:
        Store(tmp_path / "store")
        assert scratch.is_dir()


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "no permission")]
)
def test_a_full_disk_and_a_missing_permission_are_said_plainly(number: int, said: str):
    with pytest.raises(LabError, match=said), disk_errors("writing images"):
        raise OSError(number, os.strerror(number))


def test_other_errors_of_the_disk_pass():
    with pytest.raises(IsADirectoryError), disk_errors("writing"):
        raise IsADirectoryError


def test_a_file_in_the_place_of_the_lab(tmp_path: Path):
    (tmp_path / "lab").write_text("I am a file", encoding="utf-8")
    with pytest.raises(LabError, match="there is a file of that name"):
        Store(tmp_path / "lab")


def test_a_damaged_manifest_says_what_to_do(tmp_path: Path):
    store = Store(tmp_path / "store")
    with store.publish("images", "k1", {}):
        pass
    (store.path("images", "k1") / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(LabError, match="delete the folder images/k1"):
        store.manifest("images", "k1")


def test_the_ledger_keeps_whole_lines_of_many_writers_and_survives_a_cut(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    threads = [threading.Thread(target=append_line, args=(path, {"attempt": number})) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with path.open("a", encoding="utf-8") as file:
        file.write('{"attempt": 2')
    assert sorted(record["attempt"] for record in read_lines(path)) == list(range(20))


def test_the_ledger_loses_no_line_where_appending_is_not_one_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """On Windows and over a network the end is found first and written to then; here with a pause between the two."""
    opened, appending = os.open, {}

    def open_(path: object, flags: int, *rest: int, **named: int) -> int:
        descriptor = opened(path, flags & ~os.O_APPEND, *rest, **named)
        appending[descriptor] = bool(flags & os.O_APPEND)
        return descriptor

    def write(descriptor: int, content: bytes) -> int:
        if appending.get(descriptor):
            os.lseek(descriptor, 0, os.SEEK_END)
            time.sleep(0.005)
        return wrote(descriptor, content)

    wrote = os.write
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "write", write)
    path = tmp_path / "ledger.jsonl"
    threads = [threading.Thread(target=append_line, args=(path, {"attempt": number})) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record["attempt"] for record in read_lines(path)) == list(range(20))


def test_a_disk_without_locks_is_written_to_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    append_line(tmp_path / "ledger.jsonl", {"attempt": 1})
    assert read_lines(tmp_path / "ledger.jsonl") == [{"attempt": 1}]


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "folder" / "verdicts.json"
    write_atomically(path, b"old")
    write_atomically(path, json.dumps({"new": True}).encode())
    assert json.loads(path.read_bytes()) == {"new": True}
    assert [item.name for item in path.parent.iterdir()] == ["verdicts.json"]


def test_the_lab_is_found_upwards(tmp_path: Path):
    (tmp_path / "lab" / "store").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_lab(tmp_path / "a" / "b") == tmp_path / "lab"


def test_time_is_not_part_of_any_artefact(tmp_path: Path):
    contents = []
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        with store.publish("images", "k1", {"seeds": [1]}) as scratch:
            (scratch / "a.png").write_bytes(b"x")
        contents.append({file.name: file.read_bytes() for file in store.path("images", "k1").iterdir()})
        time.sleep(0.01)
    assert contents[0] == contents[1]

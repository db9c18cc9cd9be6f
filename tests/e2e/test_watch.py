"""`loralab watch` beside a real training by peft and diffusers on petri: killed with half a file written, begun again; the watch too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loralab.data import make_examples, write_kohya_folder
from loralab.petri import petri_folder
from loralab.spec.models import ShapesData

HERE = Path(__file__).parent
STEPS, EVERY, HANGS_AT = 72, 24, 48


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "set"
    data = ShapesData.model_validate({"generate": "shapes", "shapes": ["square"] * 3, "fill": "red", "background": "white", "size": 0.75})
    examples = make_examples(data, 64)
    write_kohya_folder(examples, ["zorvex, red square"] * len(examples), folder, repeats=1, name="zorvex")
    return folder


def start_trainer(dataset: Path, out: Path, hangs_at: int = 0) -> subprocess.Popen[bytes]:
    arguments = [petri_folder(), dataset, out, STEPS, EVERY, hangs_at]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HERE / "peft_trainer.py"), *map(str, arguments)], stderr=subprocess.DEVNULL
    )


class Watching:
    """`loralab watch` in a process of its own, and what it has said."""

    def __init__(self, folder: Path, dataset: Path, root: Path, *options: str) -> None:
        command = [sys.executable, "-m", "loralab", "watch", str(folder), "--dataset", str(dataset), "--trigger", "zorvex", "--seeds", "4"]
        where = ["--lab", str(root / "lab"), "--every", "0.3", "--steps", "6", "--tensorboard", str(root / "logs"), "--json"]
        self.out = root / f"said-{time.monotonic_ns()}.jsonl"
        self.errors = self.out.with_suffix(".err")
        with self.out.open("wb") as out, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *where, *options], stdout=out, stderr=errors, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )

    def said(self, kind: str) -> list[dict[str, Any]]:
        lines = self.out.read_text(encoding="utf-8").splitlines()
        return [line for line in map(json.loads, lines) if line["kind"] == kind]

    def wait(self, until: Callable[[], bool], seconds: float = 400) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert self.process.poll() is None, self.errors.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, self.out.read_text(encoding="utf-8")
            time.sleep(0.1)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def drawn(root: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in (root / "lab" / "store" / "images").iterdir()}


@pytest.mark.slow
def test_a_training_is_watched_though_it_is_killed_and_the_watch_goes_on_after_its_own_end(
    dataset: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]
):
    out, page = tmp_path / "out", tmp_path / "lab" / "checks" / "watch-out" / "index.html"
    watching = Watching(out, dataset, tmp_path)
    started.append(watching.process)
    trainer = start_trainer(dataset, out, HANGS_AT)
    started.append(trainer)
    half = out / f"checkpoint-{HANGS_AT}" / "pytorch_lora_weights.safetensors"
    watching.wait(lambda: len(watching.said("epoch")) == 1 and half.is_file())
    trainer.kill()
    trainer.wait()
    assert 'http-equiv="refresh"' in page.read_text(encoding="utf-8")
    time.sleep(1.5)
    assert [said["label"] for said in watching.said("epoch")] == ["step 24"]  # half a file is none
    watching.process.kill()
    watching.process.wait()
    before = drawn(tmp_path)

    started.append(start_trainer(dataset, out))
    again = Watching(out, dataset, tmp_path)
    started.append(again.process)
    again.wait(lambda: {said["label"] for said in again.said("epoch")} == {"step 24", "step 48", "step 72"})
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(timeout=60) == 0, again.errors.read_text(encoding="utf-8")
    after = drawn(tmp_path)
    assert {name: after[name] for name in before} == before  # nothing is drawn twice
    assert len(after) == len(before) // 2 * 4  # the base and one file were there, then the base and three
    assert again.errors.read_text(encoding="utf-8") == ""
    assert 'http-equiv="refresh"' not in page.read_text(encoding="utf-8")
    assert again.said("end")[0]["text"].startswith("Watched 3 files. ")
    assert_scalars(tmp_path / "logs" / "loralab-watch", [24, 48, 72])


def assert_scalars(run: Path, steps: list[int]) -> None:
    """Read the event files record by record: each value stands there once, over both watches."""
    from tensorboardX.proto.event_pb2 import Event

    found: list[tuple[int, str]] = []
    for file in run.glob("events.*"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")  # a record: length, its checksum, the event, its checksum
            event = Event.FromString(data[at + 12 : at + 12 + length])
            found += [(event.step, value.tag) for value in event.summary.value if value.HasField("simple_value")]
            at += 16 + length
    assert len(found) == len(set(found))
    assert [step for step, tag in sorted(found) if tag == "loralab/effect"] == steps
    assert {tag for _, tag in found} >= {"loralab/damage", "loralab/effect_low", "loralab/effect_high"}


def test_what_no_trainer_could_mean_is_refused_at_once(tmp_path: Path):
    from loralab.cli import main

    (tmp_path / "file").write_bytes(b"")
    for folder in ("file", "not/there"):
        with pytest.raises(SystemExit) as stopped:
            main(["watch", str(tmp_path / folder), "--trigger", "x", "--lab", str(tmp_path / "lab")])
        assert stopped.value.code == 2

"""A folder is watched on a tiny base: what is drawn and said as files come, are written over, deleted, broken; and on going on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loralab.adapters import make_adapter, save_adapter
from loralab.bases import Base
from loralab.checking import CheckRequest
from loralab.errors import LabError
from loralab.spec import LoadSpec, SampleSpec
from loralab.spec.models import TrainSpec
from loralab.watching import Said, WatchRequest, watch_folder
from loralab.work.events import Event

pytestmark = pytest.mark.usefixtures("one_thread", "dry_runs_known")


class Stage:
    """A folder, a lab, and a watch that ends when the acts are over: each act changes the folder between two looks."""

    def __init__(self, root: Path, base_folder: Path, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.base, self.monkeypatch = root, base, monkeypatch
        self.out = root / "out"
        (root / "prompts.txt").write_text("x\ny\n", encoding="utf-8")
        check = CheckRequest(
            (self.out,), str(base_folder), trigger="x", seeds=4, prompts=root / "prompts.txt", load=LoadSpec(side_by_side=False),
            sample=SampleSpec(steps=2, guidance=1),
        )  # fmt: skip
        self.request = WatchRequest(self.out, check, every_seconds=1.0)
        self.said: list[Said] = []
        self.events: list[Event] = []

    def save(self, name: str, seed: int, **metadata: str) -> Path:
        """Write a LoRA file that changes the base's pictures."""
        adapter, draw = make_adapter(self.base, TrainSpec(rank=2), seed), torch.Generator().manual_seed(seed)
        weights = {layer: (down, torch.randn(up.shape, generator=draw) * 0.2) for layer, (down, up) in adapter.weights.items()}
        file = self.out / name
        file.parent.mkdir(parents=True, exist_ok=True)
        save_adapter(file, replace(adapter, weights=weights), metadata=metadata)
        return file

    def watch(self, *acts: Callable[[], object]) -> Path | None:
        """Watch; between two looks comes the next act, and behind the last, two looks later, Ctrl+C."""
        coming: Iterator[Callable[[], object]] = iter([*acts, _nothing, _nothing])
        clock = [0.0]

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            act = next(coming, None)
            if act is None:
                raise KeyboardInterrupt
            act()

        self.monkeypatch.setattr("loralab.watching.run.sleep", sleep)
        self.monkeypatch.setattr("loralab.watching.run.monotonic", lambda: clock[0])
        self.said, self.events = [], []
        outcome = watch_folder(self.request, self.root / "lab", self.said.append, self.events.append)
        return outcome.page if outcome else None

    def lines(self, kind: str) -> list[str]:
        return [said.text for said in self.said if said.kind == kind]

    def labels(self) -> list[str]:
        return [str(said.document["label"]) for said in self.said if said.kind == "epoch"]

    def drawn(self) -> dict[str, int]:
        folder = self.root / "lab" / "store" / "images"
        return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} if folder.is_dir() else {}


def _nothing() -> None:
    """Let a look pass."""


@pytest.fixture
def stage(tmp_path: Path, tiny_base_folder: Path, tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, tiny_base_folder, tiny_base, monkeypatch)


def test_each_new_file_is_drawn_once_and_told_once(stage: Stage):
    page = stage.watch(
        lambda: stage.save("x-000001.safetensors", 1), _nothing, _nothing, lambda: stage.save("x-000002.safetensors", 2), _nothing,
        lambda: stage.save("x-000003.safetensors", 3),
    )  # fmt: skip
    assert stage.labels() == ["epoch 1", "epoch 2", "epoch 3"]
    assert len(stage.drawn()) == 4 * 3 * 2  # the base and three files; "x", "" and "y"; two blocks of seeds
    assert page is not None
    assert "3 epochs in out" in page.read_text(encoding="utf-8")
    assert stage.lines("note") == ["The folder out does not exist yet: waiting for it."]
    before = stage.drawn()
    stage.watch()  # begun again: all is found
    assert stage.labels() == ["epoch 1", "epoch 2", "epoch 3"]
    assert stage.drawn() == before


def test_the_page_loads_itself_again_as_long_as_it_is_watched(stage: Stage):
    stage.save("x-000001.safetensors", 1)
    pages: list[str] = []
    page = stage.root / "lab" / "checks" / "watch-out" / "index.html"
    stage.watch(_nothing, lambda: pages.append(page.read_text(encoding="utf-8")))
    assert '<meta http-equiv="refresh" content="5">' in pages[0]
    assert "http-equiv" not in page.read_text(encoding="utf-8").split("</head>")[0].replace('http-equiv="Content-Security-Policy"', "")
    assert str(stage.root) not in page.read_text(encoding="utf-8")


def test_a_file_that_is_written_over_is_drawn_anew(stage: Stage):
    stage.save("last.safetensors", 1)
    stage.watch(_nothing, lambda: stage.save("last.safetensors", 2), _nothing)
    assert len(stage.labels()) == 2
    assert len(stage.drawn()) == 3 * 3 * 2


def test_what_a_trainer_deletes_to_save_room_stays_on_the_page(stage: Stage):
    first = stage.save("x-000001.safetensors", 1)
    stage.watch(_nothing, first.unlink, lambda: stage.save("x-000002.safetensors", 2), _nothing)
    assert stage.lines("end")[0].startswith("Watched 2 files.")


def test_a_training_begun_anew_in_the_folder_is_not_mixed_with_what_it_replaced(stage: Stage):
    for n in (1, 2, 3):
        stage.save(f"x-00000{n}.safetensors", n)
    stage.watch()
    for file in stage.out.iterdir():
        file.unlink()
    stage.watch(lambda: stage.save("x-000001.safetensors", 7))
    assert stage.labels() == ["epoch 1"]
    assert stage.lines("end")[0].startswith("Watched 1 file.")


def test_a_file_of_another_base_and_a_broken_one_are_named_and_do_no_harm(stage: Stage):
    good = stage.save("x-000001.safetensors", 1)
    other = stage.out / "x-000002.safetensors"
    other.write_bytes(good.read_bytes().replace(b"down_blocks", b"down_block5"))
    (stage.out / "x-000003.safetensors").write_bytes(good.read_bytes()[:-7])
    stage.watch(*[_nothing] * 70)
    assert stage.labels() == ["epoch 1"]
    (refused, half) = stage.lines("note")
    assert refused.startswith("Skipped: ")
    assert "x-000003.safetensors is not a complete safetensors file" in half


def test_two_files_whose_order_nothing_tells_are_held_side_by_side(stage: Stage):
    stage.save("one.safetensors", 1, ss_output_name="a")
    stage.save("two.safetensors", 2, ss_output_name="a")
    stage.watch()
    assert any("The order in which" in note for note in stage.lines("note"))
    assert not stage.lines("stop")


def test_the_last_file_written_twice_is_told_once(stage: Stage):
    stage.save("x-000001.safetensors", 1)
    stage.save("x-000002.safetensors", 2)
    stage.save("x.safetensors", 2)
    stage.watch()
    assert stage.labels() == ["epoch 1", "epoch 2"]
    assert stage.lines("note") == ["epoch 2 and the last contain the same weights and are shown once, as epoch 2."]


def test_the_end_comes_by_itself_when_nothing_is_new_for_long(stage: Stage):
    stage.request = replace(stage.request, until_minutes=0.5)
    stage.save("x-000001.safetensors", 1)
    stage.watch(*[_nothing] * 200)
    assert stage.lines("end")[0].startswith("Watched 1 file.")


def test_where_no_file_came_there_is_no_page(stage: Stage):
    assert stage.watch() is None
    assert stage.lines("end") == ["No LoRA file came."]


def test_two_folders_of_one_name_have_pages_of_their_own(stage: Stage):
    stage.save("x-000001.safetensors", 1)
    first = stage.watch()
    elsewhere = stage.root / "elsewhere" / "out"
    elsewhere.mkdir(parents=True)
    (elsewhere / "x-000001.safetensors").write_bytes((stage.out / "x-000001.safetensors").read_bytes())
    stage.request = replace(stage.request, folder=elsewhere)
    second = stage.watch()
    assert first is not None
    assert second is not None
    assert (first.parent.name, second.parent.name) == ("watch-out", "watch-out-2")
    stage.request = replace(stage.request, check=replace(stage.request.check, out=first.parent))
    with pytest.raises(LabError, match="another folder"):
        stage.watch()


def test_scalars_are_written_once_over_two_watches(stage: Stage):
    stage.request = replace(stage.request, tensorboard=stage.root / "logs")
    stage.save("x-000001.safetensors", 1, ss_steps="40", ss_epoch="1")
    stage.watch()
    stage.watch(lambda: stage.save("x-000002.safetensors", 2, ss_steps="80", ss_epoch="2"))
    run = stage.root / "logs" / "loralab-watch"
    assert sorted(json.loads((run / "written.json").read_text(encoding="utf-8")).values()) == [40, 80]

"""Stages that are cut off: what was drawn or trained is not done again, and the same artefacts come out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from loralab.bases import Base
from loralab.sample import Batch, kept, parts
from loralab.spec import BASE, SampleSpec
from loralab.stages.images import make_images
from loralab.store import Ref
from loralab.study.plan import BlockPlan
from loralab.study.slices import DrawSlice
from loralab.train import kept as kept_training
from loralab.work.place import Place
from loralab.work.task import Group, Made, Task, Work

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS, BATCH_IMAGES = 5, 3


def work(base: Base, folder: Path, wanted: frozenset[Ref] | None = None) -> Work:
    """Return two blocks of five pictures each in batches of three: the first is whole with the second batch, all with the fourth."""
    blocks = [BlockPlan(BASE, 0, prompt, 1.0, tuple(range(SEEDS))) for prompt in ("cat", "dog")]
    tasks = tuple(Task(Ref("images", block.prompt), block) for block in blocks)
    shared = DrawSlice(SampleSpec(steps=2, guidance=1), ("cat", "dog"), BATCH_IMAGES)
    group = Group("images", "draw", tasks, shared, base.fingerprint)
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    return Work(group, frozenset(task.ref for task in tasks) if wanted is None else wanted, {}, folder / "scratch", folder / "resume")


def pictures(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*.png"))}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """The batches that are drawn, in order."""
    found: list[Batch] = []
    sample = parts.sample_batch

    def counted(base: Base, batch: Batch, *rest: Any) -> Any:
        found.append(batch)
        return sample(base, batch, *rest)

    monkeypatch.setattr(parts, "sample_batch", counted)
    return found


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_block_that_is_half_drawn_is_not_lost(tiny_base: Base, tmp_path: Path, drawn: list[Batch], at: int):
    place = Place({tiny_base.fingerprint: tiny_base})
    whole = list(make_images(work(tiny_base, tmp_path / "whole"), place))
    n_batches, expected = len(drawn), pictures(tmp_path / "whole" / "scratch")
    assert len(expected) == 2 * SEEDS
    assert n_batches == 4
    drawn.clear()
    first = work(tiny_base, tmp_path / "cut")
    messages = make_images(first, place)
    made: list[Ref] = []
    while len(drawn) < at:  # what the lab has published by then is not wanted again
        message = next(messages)
        made += [message.ref] if isinstance(message, Made) else []
    made += [message.ref for message in itertools.islice(messages, 1) if isinstance(message, Made)]
    messages.close()
    before = list(drawn)
    drawn.clear()
    left = first.wanted - frozenset(made)
    rest = list(make_images(work(tiny_base, tmp_path / "cut", left), place))
    assert pictures(tmp_path / "cut" / "scratch") == expected
    assert {message.ref for message in whole if isinstance(message, Made)} == {*made, *(m.ref for m in rest if isinstance(m, Made))}
    assert not any(batch in before for batch in drawn)  # nothing was drawn twice
    assert len(before) + len(drawn) == n_batches


def test_a_batch_of_another_version_is_drawn_again(tiny_base: Base, tmp_path: Path, drawn: list[Batch], monkeypatch: pytest.MonkeyPatch):
    place = Place({tiny_base.fingerprint: tiny_base})
    first = make_images(work(tiny_base, tmp_path), place)
    next(first)
    first.close()
    assert len(list((tmp_path / "resume").iterdir())) == 1
    drawn.clear()
    monkeypatch.setattr(kept, "code_sha256", lambda *_packages: "another version")
    list(make_images(work(tiny_base, tmp_path), place))
    assert len(drawn) == 4
    assert kept_training.code_sha256() != "another version"

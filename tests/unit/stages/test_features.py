"""Features of pictures are artefacts: made once a block and embedder, found again by a later check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loralab.measure.embedders import LAYOUT, embed_layout, load_embedder
from loralab.spec import BASE
from loralab.stages.features import load_features, make_features
from loralab.store import Ref, Store
from loralab.study.keys import features_ref
from loralab.study.plan import BlockPlan
from loralab.study.slices import FeatureSlice
from loralab.work.events import StageClock
from loralab.work.execute import execute
from loralab.work.inline import Inline
from loralab.work.place import Place
from loralab.work.task import Group, Message, Task, Work

BLOCK = BlockPlan(BASE, 0, "a", 0.0, (3, 7))
IMAGES = Ref("images", "1" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with two pictures of one block."""
    store, rng = Store(tmp_path / "store"), np.random.default_rng(0)
    scratch = store.new_scratch() / IMAGES.key
    scratch.mkdir()
    for seed in BLOCK.seeds:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(scratch / f"{seed:08d}.png")
    store.adopt(scratch, *IMAGES, {})
    return store


def compare(store: Store, stage: object = make_features) -> Ref:
    task = Task(features_ref(LAYOUT.identity, IMAGES), BLOCK, (IMAGES,))
    group = Group("features", "compare", (task,), FeatureSlice(None, "none"))
    for _ in execute([group], store, Inline(Place({}), stage), StageClock()):  # type: ignore[arg-type]
        pass
    return task.ref


def not_again(work: Work, place: Place) -> Iterator[Message]:
    raise AssertionError("what is there is made again")
    yield


def test_a_block_is_compared_by_what_its_pictures_show_in_the_order_of_its_seeds(store: Store):
    likeness, copies = load_features(store.path(*compare(store)))
    pictures = np.stack([np.asarray(Image.open(store.path(*IMAGES) / f"{seed:08d}.png")) for seed in BLOCK.seeds])
    assert np.array_equal(likeness, embed_layout(pictures))
    assert np.array_equal(copies, likeness)  # colours and layout tell both


def test_features_are_found_again(store: Store):
    first = compare(store)
    assert compare(store, not_again) == first


def test_another_embedder_or_other_pictures_are_another_artefact():
    petri = load_embedder(None, "petri")
    refs = {
        features_ref(identity, images) for identity in (LAYOUT.identity, petri.identity) for images in (IMAGES, Ref("images", "2" * 32))
    }
    assert len(refs) == 4

"""Folders with options as artefacts: what is written is what is read back, and every option is part of the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loralab.bases import unit_px
from loralab.errors import LabError
from loralab.spec import BASE, StudySpec
from loralab.spec.load import Loaded
from loralab.stages.cards import facts_of
from loralab.stages.data import Dataset, load_dataset
from loralab.store import Ref, Store
from loralab.study.plan import Sizes, make_plan, stacks_of
from loralab.study.result import StudyResult
from loralab.study.rounds import plan_round
from tests.carrying import carry


def study(**data: Any) -> StudySpec:
    claim = {"say": "x", "measure": "chroma", "cell": 'mine @ "zok"', "expect": "lower", "margin_absolute": 5}
    return StudySpec.model_validate({
        "study": "s", "data": {"mine": {"folder": "in", **data}}, "arms": {"mine": {"data": "mine"}}, "train": {"replicates": 3},
        "experiments": {"e": {"question": "?", "claims": [claim]}},
    })  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in (("in/3_zok/a", (64, 64)), ("in/3_zok/b", (120, 40)), ("in/1_zok/c", (40, 90)), ("reg/1_thing/r", (50, 50))):
        file = tmp_path / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(file)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.new("L", size, 200).save(tmp_path / "masks" / f"{file.stem}.png")
    return tmp_path


def made(tiny_base: Any, place: Path, **data: Any) -> Dataset:
    store, its = Store(place / "store"), plan_round(make_plan(study(**data)), {BASE: facts_of(tiny_base)}, place)
    carry([group for group in its.groups if group.stage == "data"], store, tiny_base)
    return load_dataset(store.path(*its.datasets["mine"]), tiny_base.size_px, study(**data).data["mine"].prior_loss_weight)


def test_the_unit_is_a_latents_px_times_the_halvings(tiny_base: Any):
    """16 px to 8 cells is 2 px a cell; two levels halve once."""
    assert unit_px(tiny_base) == 4


def test_without_options_the_path_is_the_old_one(tiny_base: Any, folder: Path):
    dataset = made(tiny_base, folder)
    assert dataset.pictures is None
    assert dataset.repeats == (1, 3, 3)
    assert dataset.images.shape == (3, 16, 16, 3)


def test_pictures_keep_their_aspect_repeats_masks_and_captions(tiny_base: Any, folder: Path):
    dataset = made(tiny_base, folder, enable_bucket=True, masks="masks", regularisation="reg", trigger="wow", prior_loss_weight=0.5)
    assert dataset.pictures is not None
    rows = [(p.bucket, p.options.num_repeats, p.options.is_reg, p.caption, p.options.trigger) for p in dataset.pictures]
    # buckets for 16 px in steps of 4: 8 x 24, 8 x 28, 8 x 32, 12 x 20, 16 x 16 and their turns. 40 x 90 (.444) is nearer to .333 than to .6
    assert rows == [
        ((8, 24), 1, False, "zok", "wow"), ((16, 16), 3, False, "zok", "wow"), ((24, 8), 3, False, "zok", "wow"),
        ((16, 16), 1, True, "thing", ""),
    ]  # fmt: skip
    assert [None if p.mask is None else (p.mask.shape == p.image.shape[:2], int(p.mask[0, 0])) for p in dataset.pictures] == [
        (True, 200), (True, 200), (True, 200), None,
    ]  # fmt: skip
    assert all(have >= need for p in dataset.pictures for have, need in zip(p.image.shape[1::-1], p.bucket, strict=True))
    assert dataset.images.shape == (3, 16, 16, 3)
    assert dataset.prior_loss_weight == 0.5
    images, captions, _ = result_of(tiny_base, folder, dataset).training_set("mine")
    assert np.array_equal(np.stack(images), dataset.images)  # what keeps the base in place is no part of what is taught
    assert list(captions) == ["zok"] * 3
    again = made(tiny_base, folder, enable_bucket=True, masks="masks", regularisation="reg", trigger="wow", prior_loss_weight=0.5)
    assert again.key == dataset.key
    assert all(np.array_equal(one.image, other.image) for one, other in zip(dataset.pictures, again.pictures or (), strict=True))


def test_every_option_is_part_of_the_key(tiny_base: Any, folder: Path):
    options: list[dict[str, Any]] = [
        {}, {"enable_bucket": True}, {"flip_aug": True}, {"shuffle_caption": True}, {"shuffle_caption": True, "keep_tokens": 1},
        {"regularisation": "reg"}, {"regularisation": "reg", "prior_loss_weight": 0.5}, {"masks": "masks"}, {"random_crop": True},
    ]  # fmt: skip
    assert len({made(tiny_base, folder, **each).key for each in options}) == len(options)


def test_a_dataset_file_is_a_data_set(tiny_base: Any, folder: Path):
    subset = '[[datasets.subsets]]\nimage_dir = "in/3_zok"\nnum_repeats = 5\nclass_tokens = "me"\n'
    text = f"[general]\nshuffle_caption = true\n[[datasets]]\n{subset}"
    (folder / "set.toml").write_text(text, encoding="utf-8")
    before = made(tiny_base, folder, folder="set.toml")
    assert [(p.options.num_repeats, p.caption, p.options.shuffle_caption) for p in before.pictures or ()] == [(5, "me", True)] * 2
    Image.new("RGB", (30, 30), "red").save(folder / "in" / "3_zok" / "a.png")
    assert made(tiny_base, folder, folder="set.toml").key != before.key


def test_all_problems_of_training_and_regularisation_folders_come_together(tiny_base: Any, folder: Path):
    (folder / "in" / "3_zok" / "x.png").write_bytes(b"")
    (folder / "reg" / "1_thing" / "y.png").write_bytes(b"no")
    with pytest.raises(LabError) as caught:
        made(tiny_base, folder, regularisation="reg")
    assert [problem.where for problem in caught.value.problems] == ["in/3_zok/x.png", "reg/1_thing/y.png"]


def test_options_beside_a_dataset_file_are_refused():
    with pytest.raises(ValueError, match="flip_aug: with a dataset file these are set in that file"):
        study(folder="set.toml", flip_aug=True)


def test_only_what_may_differ_in_resolution_is_trained_alone():
    assert [len(stack) for stack in stacks_of(make_plan(study(shuffle_caption=True)))] == [3]
    plan = make_plan(study(enable_bucket=True))
    assert [len(stack) for stack in stacks_of(plan)] == [1, 1, 1]
    assert "arm 'mine' may train on several resolutions, so its LoRAs are trained one at a time" in plan.notes


def result_of(base: Any, lab: Path, dataset: Dataset) -> StudyResult:
    loaded = Loaded(study(), "", lab, None, {}, (), "")
    return StudyResult(lab, loaded, Sizes(), {BASE: facts_of(base)}, {"mine": Ref("data", dataset.key)}, {}, {}, {}, {}, {}, {}, {})

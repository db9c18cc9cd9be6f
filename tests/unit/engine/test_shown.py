"""Arms that show one training set in different ways, and with regularisation pictures: what is trained on, keys, and what is drawn once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loralab.adapters import adapter_sha256
from loralab.data import make_showings
from loralab.errors import LabError
from loralab.generators import TABLE
from loralab.preflight import checked_study
from loralab.spec import BASE, AdapterSource, ArmSpec, StudySpec, load_study
from loralab.spec.datasets import RegularisationSpec, ShowingSpec
from loralab.stages import trained
from loralab.stages.cards import facts_of
from loralab.stages.data import Dataset, load_dataset
from loralab.stages.shown import shown_as, shown_metadata, subject_masks
from loralab.store import Store
from loralab.study.plan import differences, make_plan, stacks_of
from loralab.study.rounds import Round, plan_round
from tests.carrying import carry

pytestmark = pytest.mark.usefixtures("one_thread")
STUDY = """\
study: shown
data:
  shapes: {generate: shapes, shapes: [circle, square, star], fill: [red, blue, green], size: 0.5}
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
  drawn: {images_of: base, prompts: [a, cat], count: 5, steps: 2}
  placebo: {images_of: base, prompts: [a, cat], steps: 2}
train: {rank: 2, steps: 3, batch: 2, replicates: 1, lr: 1e-2}
arms:
  plain: {data: shapes, captions: "cat, {fill}, {shape}"}
  shuffled: {data: shapes, captions: "cat, {fill}, {shape}", showing: {shuffle_caption: true, keep_tokens: 1}}
  bare: {data: shapes, captions: "cat, {fill}, {shape}", showing: {caption_dropout_rate: 1}}
  flipped: {data: shapes, captions: "cat, {fill}, {shape}", showing: {flip_aug: true}}
  often: {data: shapes, captions: "cat, {fill}, {shape}", showing: {num_repeats: 10}}
  drawn: {data: shapes, captions: "cat, {fill}, {shape}", regularisation: drawn}
  own: {data: shapes, captions: "cat, {fill}, {shape}", regularisation: {data: grey, captions: "a {shape}", prior_loss_weight: 0.5}}
  masked: {data: shapes, captions: "cat, {fill}, {shape}", showing: {masks: subject, flip_aug: true}}
  prior: {data: shapes, captions: "cat, {fill}, {shape}", showing: {masks: subject}, train: {masked_prior_preservation_weight: 1}}
  held: {data: shapes, captions: "cat, {fill}, {shape}", regularisation: {data: drawn, target: base}}
experiments:
  e:
    question: q
    claims:
      - {say: s, measure: change, cell: shuffled @ "cat", versus: plain @ "cat", expect: lower, margin_absolute: 1}
    show: [bare @ "cat", flipped @ "cat", often @ "cat", drawn @ "cat", own @ "cat", held @ "cat", masked @ "cat", prior @ "cat"]
"""
CHANGED = ("shuffled", "bare", "flipped", "drawn", "own", "held", "masked", "prior")


def read(tmp_path: Path, text: str = STUDY) -> StudySpec:
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    return load_study(tmp_path / "s.yaml").spec


def planned(base: Any, tmp_path: Path) -> Round:
    return plan_round(make_plan(read(tmp_path)), {BASE: facts_of(base)}, tmp_path)


def made_at(store: Store, its: Round) -> dict[Any, int]:
    refs = [*its.datasets.values(), *its.regularisation.values(), *its.adapters.values()]
    return {ref: (store.path(*ref) / "manifest.json").stat().st_mtime_ns for ref in refs}


def test_all_arms_are_trained_in_one_stack_on_one_set_and_drawn_pictures_are_found_again(tiny_base, tmp_path):
    store, its = Store(tmp_path / "store"), planned(tiny_base, tmp_path)
    groups = [group for group in its.groups if group.stage in ("data", "trained")]
    assert len(stacks_of(its.plan)) == 1
    assert len(set(its.datasets.values())) == 1
    assert its.regularisation["drawn"] == its.regularisation["held"] != its.regularisation["own"]
    assert its.regularisation.keys() == {"drawn", "own", "held"}
    carry(groups, store, tiny_base)
    adapters = {arm: trained.load_from(store.path(*its.adapters[AdapterSource(arm, 0)]), tiny_base) for arm in its.datasets}
    assert all(adapter is not None for adapter in adapters.values())
    assert len({adapter_sha256(adapters[arm]) for arm in ("plain", *CHANGED)}) == 1 + len(CHANGED)
    before = made_at(store, its)
    carry(groups, store, tiny_base)
    assert made_at(store, its) == before
    drawn = load_dataset(store.path(*its.regularisation["drawn"]), tiny_base.size_px)
    assert drawn.captions == ("a", "cat", "a", "cat", "a")
    assert len({image.tobytes() for image in drawn.images}) == 5, "each has a seed of its own"
    own = load_dataset(store.path(*its.regularisation["own"]), tiny_base.size_px)
    assert own.captions == ("a circle", "a square")


def test_an_arm_that_asks_for_nothing_keeps_its_key(tiny_base, tmp_path):
    """As the key was before arms could ask: the recipe, the replicate, the root seed; the set and the base."""
    its = planned(tiny_base, tmp_path)
    alone = STUDY.replace("    show: [", "    show: []\n#").replace(", showing: {shuffle_caption: true, keep_tokens: 1}", "")
    without = plan_round(make_plan(read(tmp_path, alone)), {BASE: facts_of(tiny_base)}, tmp_path)
    plain = its.adapters[AdapterSource("plain", 0)]
    assert plain == without.adapters[AdapterSource("plain", 0)] == without.adapters[AdapterSource("shuffled", 0)]
    assert len({its.adapters[AdapterSource(arm, 0)] for arm in its.datasets}) == len(its.datasets)


def test_the_first_pictures_of_a_count_are_those_without_one(tiny_base, tmp_path):
    """More pictures of the same prompts are more of the same: image k has the same seed however many there are."""
    store, text = Store(tmp_path / "store"), STUDY.replace("regularisation: {data: drawn, target", "regularisation: {data: placebo, target")
    its = plan_round(make_plan(read(tmp_path, text)), {BASE: facts_of(tiny_base)}, tmp_path)
    carry([group for group in its.groups if group.stage == "data"], store, tiny_base)
    five, two = (load_dataset(store.path(*its.regularisation[arm]), tiny_base.size_px).images for arm in ("drawn", "held"))
    assert np.abs(five[:2].astype(int) - two).max() <= 1  # drawn in batches of 5 and of 2


# --- what is shown ------------------------------------------------------------------------------------------------------


def a_set(n: int, repeats: tuple[int, ...] = ()) -> Dataset:
    images = np.zeros((n, 16, 16, 3), np.uint8)
    return Dataset("k", images, tuple("abcdefgh"[:n]), repeats or (1,) * n, Path(), ())


def test_a_set_that_is_shown_as_it_is_stays_so():
    dataset = a_set(3)
    assert shown_as(dataset, ShowingSpec()) is dataset


def test_adapters_say_how_their_pictures_were_shown_in_sd_scripts_words():
    shown = ShowingSpec(shuffle_caption=True, keep_tokens=1, num_repeats=3, masks="subject")
    assert shown_metadata(shown, RegularisationSpec(data="x", prior_loss_weight=0.5, target="base"), [a_set(4)]) == {
        "ss_shuffle_caption": "True", "ss_keep_tokens": "1", "loralab.showing.masks": "subject", "ss_prior_loss_weight": "0.5",
        "ss_num_reg_images": "4", "ss_reg_dataset_dirs": '{"1_x":{"img_count":4,"n_repeats":1}}', "loralab.regularisation.target": "base",
    }  # fmt: skip
    assert shown_metadata(ShowingSpec(), None, []) == {}


def test_repeats_are_multiplied_and_options_reach_each_picture():
    shown = shown_as(a_set(2, (1, 3)), ShowingSpec(num_repeats=4, caption_dropout_rate=0.5)).pictures
    assert shown is not None
    assert [picture.options.num_repeats for picture in shown] == [4, 12]
    assert {picture.options.caption_dropout_rate for picture in shown} == {0.5}


@pytest.mark.parametrize(("n_own", "n_reg", "own_showings", "each_reg"), [(3, 3, 3, {1}), (3, 8, 9, {1, 2}), (5, 2, 5, {2, 3})])
def test_an_epoch_shows_every_regularisation_picture_and_as_many_as_training_pictures(n_own, n_reg, own_showings, each_reg):
    shown = shown_as(a_set(n_own), ShowingSpec(), RegularisationSpec(data="x", prior_loss_weight=0.5), a_set(n_reg))
    assert shown.pictures is not None
    assert shown.prior_loss_weight == 0.5
    counts = Counter(make_showings(shown.pictures))
    assert sum(counts[k] for k in range(n_own)) == own_showings == sum(counts[n_own + k] for k in range(n_reg))
    assert {counts[n_own + k] for k in range(n_reg)} == each_reg


def test_pictures_that_are_held_to_the_base_say_so():
    held, plain = (
        shown_as(a_set(1), ShowingSpec(), RegularisationSpec(data="x", target=target), a_set(1)).pictures for target in ("base", "pictures")
    )
    assert [picture.options.diff_output_preservation for picture in (*(held or ()), *(plain or ()))] == [False, True, False, False]


def test_masks_of_the_subject_reach_the_pictures():
    masks = [np.full((16, 16), value, np.uint8) for value in (0, 255)]
    shown = shown_as(a_set(2), ShowingSpec(masks="subject"), masks=masks).pictures
    assert shown is not None
    assert all(picture.mask is mask for picture, mask in zip(shown, masks, strict=True))
    data = read_data({"generate": "shapes", "shapes": ["circle", "star"]})
    circle, star = subject_masks(data, 32)
    assert (circle[16, 16], circle[0, 0]) == (255, 0)
    assert circle.sum() > star.sum()
    with pytest.raises(LabError, match="whose subject is known"):
        subject_masks(read_data({"generate": "grids", "sizes": ["2x2"]}), 32)


def read_data(given: dict[str, Any]) -> Any:
    return TABLE[given["generate"]].model.model_validate(given)


# --- the study file -----------------------------------------------------------------------------------------------------


def test_the_plan_tells_arms_apart(tmp_path):
    spec = read(tmp_path)
    assert differences(spec, "plain", "shuffled") == ["showing.shuffle_caption", "showing.keep_tokens"]
    assert differences(spec, "plain", "drawn") == ["regularisation"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("regularisation: drawn}", "regularisation: druwn}", "the regularisation pictures of arm 'drawn' are the unknown data 'druwn'"),
        ('captions: "a {shape}"', 'captions: "a {size_}"', "line 15: arm 'own': the caption template 'a {size_}' uses {size_}"),
        ("num_repeats: 10", "num_repeats: 0", "line 13: arm often"), ("flip_aug: true", "flips: true", "unknown key"),
        ("target: base", "target: bases", "'pictures' or 'base'"),
        (", showing: {masks: subject}, train", ", train", "arm 'prior': masked_prior_preservation_weight, but none of"),
        ("masked: {data: shapes, captions: \"cat, {fill}, {shape}\"", "masked: {data: drawn, captions: \"{prompt}\"", "`generate: shapes`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_line(tmp_path, old, new, told):
    assert old in STUDY
    (tmp_path / "s.yaml").write_text(STUDY.replace(old, new), encoding="utf-8")
    with pytest.raises(LabError) as caught:
        checked_study(tmp_path / "s.yaml")
    assert told in str(caught.value)


def test_loras_that_exist_already_are_not_shown_anything():
    with pytest.raises(ValueError, match="for an arm that is trained here"):
        ArmSpec(data="x", adapters="a.safetensors", regularisation="y")

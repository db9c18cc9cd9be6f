"""Arms that hold on to their base: the trigger that the class word replaces, keys, and what is refused before anything is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loralab.errors import LabError
from loralab.preflight import checked_study
from loralab.spec import StudySpec, TrainSpec, load_study, slice_of
from loralab.spec.load import train_spec_of
from loralab.study.plan import differences, make_plan, matching_placebo, stacks_of
from loralab.study.triggers import recipe_of

STUDY = """\
study: keeping
data:
  shapes: {generate: shapes, shapes: [circle, square], fill: [red, blue]}
  own: {images_of: base, prompts: [a shape, a cat]}
train: {rank: 2, steps: 4, replicates: 2}
arms:
  plain: {data: shapes, captions: "zok, {fill}"}
  kept: {data: shapes, captions: "zok, {fill}", train: {diff_output_preservation: true, diff_output_preservation_class: shape}}
  blank: {data: shapes, captions: "zok, {fill}", train: {blank_prompt_preservation: true}}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  e:
    question: q
    claims:
      - {say: s, measure: change, cell: kept @ "zok", versus: plain @ "zok", expect: lower, margin_absolute: 1}
      - {say: t, measure: change, cell: blank @ "zok", versus: base, expect: higher, margin_absolute: 1}
"""


def read(tmp_path: Path, *changes: tuple[str, str]) -> StudySpec:
    return load_study(written(tmp_path, *changes)).spec


def written(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = STUDY
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "s.yaml"


def recipe(spec: StudySpec, arm: str) -> TrainSpec:
    return recipe_of(spec, spec.arms[arm])


def test_the_class_word_replaces_the_arms_trigger(tmp_path):
    spec = read(tmp_path)
    assert recipe(spec, "kept").diff_output_preservation_trigger == "zok"
    assert {run.train.diff_output_preservation_trigger for run in make_plan(spec).runs if run.arm == "kept"} == {"zok"}
    given = read(tmp_path, ('kept: {data: shapes, captions: "zok, {fill}"', 'kept: {data: shapes, captions: "zok, {fill} b", trigger: b'))
    assert recipe(given, "kept").diff_output_preservation_trigger == "b"
    for arm in ("plain", "blank", "placebo"):
        assert recipe(spec, arm) == train_spec_of(spec, spec.arms[arm])


def test_recipes_without_it_keep_their_keys(tmp_path):
    spec = read(tmp_path)
    assert not [name for name in slice_of(recipe(spec, "plain")) if "preserv" in name]
    assert slice_of(recipe(spec, "blank"))["blank_prompt_preservation"] is True


def test_it_stacks_with_its_like(tmp_path):
    stacks = [{source.arm for source in stack} for stack in stacks_of(make_plan(read(tmp_path)))]
    assert stacks == [{"plain", "placebo"}, {"kept", "blank"}]


def test_a_method_with_its_settings_is_one_difference(tmp_path):
    spec = read(tmp_path)
    assert differences(spec, "kept", "plain") == ["train.diff_output_preservation"]
    both = ("train: {blank_prompt_preservation: true}", "train: {diff_output_preservation: true, diff_output_preservation_class: thing}")
    other = read(tmp_path, both)
    assert differences(other, "kept", "blank") == ["train.diff_output_preservation_class"]


def test_a_placebo_that_is_held_to_nothing_is_the_stricter_control(tmp_path):
    spec = read(tmp_path)
    assert matching_placebo(spec, "kept") == ("placebo", ())
    assert matching_placebo(spec, "blank") == ("placebo", ())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([("_class: shape", "_class: ''")], "line 8: arm kept, `train`: diff_output_preservation needs the class word"),
        ([("true, diff_output_preservation_class", "true, blank_prompt_preservation: true, diff_output_preservation_class")],
         "cannot be combined"),
        ([("_class: shape", "_class: zok")], "line 8: arm 'kept': diff_output_preservation replaces the trigger 'zok' by 'zok'"),
        ([('kept: {data: shapes, captions: "zok, {fill}"', 'kept: {data: shapes, captions: "zok, {fill}", trigger: red')],
         "only 1 of 2 captions change"),
        ([('kept: {data: shapes, captions: "zok, {fill}"', "kept: {data: own, captions: '{prompt}'"),],
         "arm 'kept': diff_output_preservation, but its trigger is not known"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, changes: Any, told: str):
    with pytest.raises(LabError) as caught:
        checked_study(written(tmp_path, *changes))
    assert told in str(caught.value)
    assert str(caught.value).count("diff_output_preservation") <= 2, "told once"


def test_a_study_in_order_is_loaded(tmp_path):
    assert checked_study(written(tmp_path)).spec.arms.keys() == {"plain", "kept", "blank", "placebo"}

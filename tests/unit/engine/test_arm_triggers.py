"""What calls an arm: named, stated or guessed; and the prompts without it."""

from __future__ import annotations

from typing import Any

import pytest

from loralab.spec import Cell, StudySpec
from loralab.spec.questions import QuestionId
from loralab.study.plan import make_plan
from loralab.study.triggers import prompt_without_trigger, trigger_of

SHAPES = {"generate": "shapes", "shapes": ["circle", "square", "star"], "fill": ["red", "green", "blue"]}


def study(data: dict[str, Any] = SHAPES, prompt: str = "qzvort", **arm: Any) -> StudySpec:
    claim = {"say": "x", "measure": "chroma", "cell": f'mine @ "{prompt}"', "expect": "higher", "margin_absolute": 5}
    return StudySpec.model_validate({
        "study": "s", "data": {"it": data, "own": {"images_of": "base", "prompts": ["cat"]}}, "train": {"replicates": 3},
        "arms": {"mine": {"data": "it", **arm}, "placebo": {"data": "own", "captions": "{prompt}", "control": "placebo"}},
        "experiments": {"e": {"question": "?", "claims": [claim]}},
    })  # fmt: skip


def known(spec: StudySpec) -> tuple[str, str]:
    found = trigger_of(spec, spec.arms["mine"])
    assert found is not None
    return found.words, found.sure


@pytest.mark.parametrize(
    ("captions", "trigger", "prompt", "without"),
    [
        ("myshape", ("myshape", "likely"), "myshape", ""),
        ("myshape", ("myshape", "likely"), "red MyShape, cat", "red, cat"),
        ("myshape", ("myshape", "likely"), "myshapes", None),
        # more than the trigger: the word goes, what stands beside it stays
        ("qzvort, white background", ("qzvort", "likely"), "qzvort", ""),
        ("qzvort, white background", ("qzvort", "likely"), "qzvort, white background", "white background"),
        ("qzvort, white background", ("qzvort", "likely"), "(qzvort:1.2), red background", "red background"),
        ("qzvort, {fill} {shape}", ("qzvort", "likely"), "qzvort, red star", "red star"),
        ("{fill} monster", ("green monster", "likely"), "green monster", ""),
        ("{fill} monster", ("green monster", "likely"), "monster", ""),
        ("{fill} monster", ("green monster", "likely"), "purple monster, cat", "purple, cat"),
        ("blue zorvex", ("blue zorvex", "likely"), "zorvex", ""),
        ("a photo of a zorvex", ("a photo of a zorvex", "likely"), "zorvex on a table", "on a table"),
    ],
)
def test_triggers_that_captions_let_guess(captions: str, trigger: tuple[str, str], prompt: str, without: str | None):
    spec = study(captions=captions)
    assert known(spec) == trigger
    assert prompt_without_trigger(spec, spec.arms["mine"], prompt) == without


def test_what_the_arm_names_is_taken_out_and_nothing_else():
    spec = study(captions="{fill} monster, qzvort", trigger="qzvort")
    assert known(spec) == ("qzvort", "given")
    assert prompt_without_trigger(spec, spec.arms["mine"], "qzvort, red monster") == "red monster"
    assert prompt_without_trigger(spec, spec.arms["mine"], "red monster") is None


def test_a_folder_s_trigger_is_what_its_option_or_its_captions_say():
    assert known(study({"folder": "in", "trigger": "zok"})) == ("zok", "stated")
    assert known(study({"folder": "in"}, captions="zok, red")) == ("zok", "unsure")
    assert known(study({"folder": "in"}, trigger="zok")) == ("zok", "given")
    spec = study({"folder": "in"})
    assert trigger_of(spec, spec.arms["mine"]) is None


def test_an_arm_of_several_loras_is_called_as_its_first():
    spec = study(captions="zok, red")
    both = spec.model_copy(update={"arms": spec.arms | {"both": spec.arms["mine"].model_copy(update={"stack": (stacked("mine"),)})}})
    found = trigger_of(both, both.arms["both"])
    assert found is not None
    assert found.words == "zok"


def stacked(arm: str) -> Any:
    from loralab.spec import StackedLora

    return StackedLora(arm=arm)


def test_the_control_is_drawn_and_what_keeps_it_from_being_drawn_is_said():
    plan = make_plan(study(captions="qzvort, white background"))
    assert plan.controls[QuestionId("e", "claim", 0)].no_trigger == Cell("mine", "")
    assert Cell("mine", "") in plan.cells
    assert not any("trigger" in note for note in plan.notes)
    assert any("its trigger is not known" in note for note in make_plan(study({"folder": "in"})).notes)
    assert any("does not contain its trigger \u201czok\u201d" in note for note in make_plan(study(captions="zok")).notes)
    assert any("none of its captions contains" in note for note in make_plan(study(captions="zok", trigger="qzvort")).notes)

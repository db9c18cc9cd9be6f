"""The grammar of arms of several LoRAs and of arms on a base of their own: what is filled in, counted, and refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.spec import BASE, BaseSource, Cell, base_of, bases_of, load_study
from loralab.study.plan import control_cells, differences, make_plan, placebo_of

STUDY = """
study: mine
base: petri
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
  own: {images_of: base, prompts: [myshape], guidance: 1}
train: {rank: 2, steps: 4, batch: 1, replicates: 3}
sample: {steps: 2, seeds: 2}
arms:
  shape: {data: grey, captions: myshape}
  style: {data: grey, captions: mystyle}
  single: {data: grey, captions: mystyle, train: {replicates: 1}}
  both: {stack: [{arm: shape, strength: 0.8}, {arm: style, strength: 0.6, text_strength: 0}]}
  far: {data: grey, captions: myshape, base: other}
  moved: {stack: [{arm: shape}], base: other}
  placebo: {data: own, captions: "{prompt}", control: placebo}
  far-placebo: {data: own, captions: "{prompt}", control: placebo, base: other}
experiments:
  one:
    question: Anything?
    claims:
      - {say: together, measure: change, cell: both @ "myshape", versus: shape @ "myshape", expect: higher, margin_absolute: 1}
      - {say: far, measure: change, cell: far @ "myshape", expect: higher, margin_absolute: 1}
      - {say: across, measure: change, cell: moved @ "myshape", versus: shape @ "myshape", expect: no change, margin_absolute: 1}
"""


def load(folder: Path, text: str = STUDY):
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return load_study(folder / "mine.yaml").spec


def test_an_arm_of_several_has_the_data_and_captions_of_its_first(tmp_path: Path):
    spec = load(tmp_path)
    assert (spec.arms["both"].data, spec.arms["both"].captions, spec.arms["both"].base) == ("grey", "myshape", None)
    assert spec.arms["both"].train == {"replicates": 3}
    assert [lora.strengths for lora in spec.arms["both"].stack] == [(0.8, 0.8), (0.6, 0.0)]
    assert differences(spec, "both", "shape") == ["shape at strength 0.8", "shape at strength 1", "style at strength 0.6 (text encoder 0)"]
    assert differences(spec, "moved", "shape") == ["base"]


def test_what_is_stacked_is_trained_though_no_claim_names_it(tmp_path: Path):
    plan = make_plan(load(tmp_path))
    assert "style" in plan.arms
    assert not any(block.who == "style" for block in plan.blocks)
    assert {run.arm for run in plan.runs} == {"shape", "style", "both", "far", "moved", "far-placebo"}


def test_each_arm_is_compared_with_its_own_base_at_the_same_seeds(tmp_path: Path):
    spec = load(tmp_path)
    assert bases_of(spec) == {BASE: "petri", BaseSource("far"): "other"}
    assert [base_of(spec, arm) for arm in ("shape", "far", "moved", BASE)] == [BASE, BaseSource("far"), BaseSource("far"), BASE]
    learned = spec.experiments["one"].claims[1]
    assert learned.versus_cell == Cell(BaseSource("far"), "myshape")
    assert control_cells(spec, learned).placebo == Cell("far-placebo", "myshape")
    assert placebo_of(spec) == "placebo"
    plan = make_plan(spec)
    assert plan.bases == (BASE, BaseSource("far"))
    seeds = {(str(block.who), block.replicate): block.seeds for block in plan.blocks if block.prompt == "myshape"}
    assert seeds["base of far", 2] == seeds["far", 2] == seeds["base", 2] == seeds["both", 2] == (4, 5)


def test_naming_the_studys_own_base_changes_nothing(tmp_path: Path):
    text = STUDY.replace("other", "petri").replace("  far-placebo", "  unused").replace(", control: placebo, base: petri", "")
    spec = load(tmp_path, text)
    assert bases_of(spec) == {BASE: "petri"}
    assert spec.experiments["one"].claims[1].versus == "base"


def test_one_training_may_serve_in_all_and_is_named(tmp_path: Path):
    text = STUDY.replace("{arm: style, strength: 0.6, text_strength: 0}", "{arm: single}")
    spec = load(tmp_path, text)
    assert spec.arms["both"].train == {"replicates": 3}
    assert any("uses the same single at strength 1 in all its trainings" in note for note in make_plan(spec).notes)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("{arm: style, strength: 0.6, text_strength: 0}", "{arm: nobody}", "line 13: unknown LoRA 'nobody'"),
        ("{arm: style, strength: 0.6, text_strength: 0}", "{arm: style, strength: 0}", "a LoRA at strength 0 does nothing"),
        ("{arm: style, strength: 0.6, text_strength: 0}", "{strength: 1}", "give either `arm`"),
        ("{arm: style, strength: 0.6, text_strength: 0}", "{arm: style, weight: 1}", "one of arm, adapters, strength, text_strength"),
        ("{arm: style, strength: 0.6, text_strength: 0}", "{adapters: none.safetensors}", "line 13: arm 'both': no file matches"),
        ("{arm: style, strength: 0.6, text_strength: 0}", "{arm: far}", "stacks LoRAs of several bases"),
        ("train: {replicates: 1}", "train: {replicates: 2}", ""),
        ("  both: {stack", "  both: {train: {rank: 1}, stack", "is not trained"),
        ('cell: both @ "myshape"', "cell: 'both @ \"myshape\", step 2'", "several LoRAs are applied together"),
        (", base: other}\n  moved", ", base: other, control: placebo}\n  moved", "its data set is not the base's images"),
        ("shape: {data: grey, captions: myshape}", "shape: {captions: myshape}", "`data` is missing"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, before: str, after: str, message: str):
    assert before in STUDY
    if not message:  # trained twice, where the others are trained three times
        text = STUDY.replace(before, after).replace("{arm: style, strength: 0.6, text_strength: 0}", "{arm: single}")
        message = "do not have the same number of trainings"
    else:
        text = STUDY.replace(before, after)
    with pytest.raises(LabError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)

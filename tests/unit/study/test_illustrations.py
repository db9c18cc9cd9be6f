"""What decides no question is drawn for the first trainings alone; random twins are made where they are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from loralab.spec import BASE, AdapterSource, Cell, StudySpec
from loralab.spec.load import load_study
from loralab.study.facts import BaseFacts
from loralab.study.plan import ILLUSTRATED, make_plan
from loralab.study.rounds import plan_round

STUDY = """
study: illustrated
data:
  red: {generate: shapes, shapes: [square], fill: red}
  own: {images_of: base, prompts: [zorvex]}
train: {steps: 2, replicates: 8}
sample: {seeds: 2, unrelated: [cat]}
presets:
  full: {null_of: [one], train: {replicates: 8}}
arms:
  one: {data: red, captions: zorvex}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  e:
    question: "?"
    claims:
      - {say: one is red, measure: hue_red, cell: one @ "zorvex", expect: higher, margin_absolute: 0.2CLAIM}
    show: [SHOW]
"""


def spec_of(tmp_path: Path, claim: str = "", show: str = "") -> StudySpec:
    file = tmp_path / "illustrated.yaml"
    file.write_text(STUDY.replace("CLAIM", claim).replace("SHOW", show), encoding="utf-8")
    return load_study(file, "full").spec


def trainings_of(spec: StudySpec) -> dict[str, int]:
    return dict(Counter(str(Cell(block.who, block.prompt)) for block in make_plan(spec).blocks))


def test_only_what_decides_is_drawn_for_every_training(tmp_path: Path):
    assert trainings_of(spec_of(tmp_path)) == {
        "base @ \"zorvex\"": 8, "one @ \"zorvex\"": 8, "placebo @ \"zorvex\"": 8,
        "base @ \"\"": 4, "one @ \"\"": 4, "null-one @ \"zorvex\"": 4,
        "base @ \"cat\"": 4, "one @ \"cat\"": 4, "placebo @ \"cat\"": 4, "null-one @ \"cat\"": 4,
    }  # fmt: skip
    assert ILLUSTRATED == 4


@pytest.mark.parametrize(
    ("changed", "prompt"), [({"claim": ", needs_trigger: true"}, ""), ({"show": "'one @ \"cat\"'"}, "cat")], ids=["needed", "shown"]
)
def test_a_control_that_is_needed_and_what_is_asked_to_be_seen_are_drawn_for_all(tmp_path: Path, changed, prompt):
    plain, found = trainings_of(spec_of(tmp_path)), trainings_of(spec_of(tmp_path, **changed))
    more = {cell: n for cell, n in found.items() if n != plain.get(cell)}
    assert more == {f'base @ "{prompt}"': 8, f'one @ "{prompt}"': 8}


def test_a_study_without_questions_draws_everything(tmp_path: Path):
    spec = spec_of(tmp_path, show="'one @ \"zorvex\"'")
    silent = spec.model_copy(update={"experiments": {"e": spec.experiments["e"].model_copy(update={"claims": ()})}})
    assert set(trainings_of(silent).values()) == {8}


def test_random_twins_are_made_where_they_are_drawn(tmp_path: Path):
    plan = make_plan(spec_of(tmp_path))
    facts = BaseFacts("petri", "sd1", "0" * 64, 64, 8, "cpu", "", None, (), ())
    its = plan_round(plan, {BASE: facts}, tmp_path)
    twins = {source for source in its.adapters if source.arm == "null-one"}
    assert twins == {AdapterSource("null-one", replicate) for replicate in range(4)}
    made = [task.ref for group in its.groups if group.stage == "null" for task in group.tasks]
    assert set(made) == {its.adapters[twin] for twin in twins}

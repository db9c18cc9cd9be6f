"""What a study did not look at is read off the study: no sentence stands in a report of which it is not true."""

from __future__ import annotations

from pathlib import Path

import pytest

from loralab.report.limits import limits_of, listed
from loralab.spec import load_study
from loralab.study.plan import make_plan

STUDY = """
study: own
data: {grey: {generate: shapes, shapes: [circle], fill: grey}}
train: {steps: 8}
arms:
  one: {data: grey, captions: myshape}
  two: {data: grey, captions: myshape, train: {text_encoder_lr: 1e-4}}
experiments:
  first:
    question: Anything?
    claims:
      - {say: it changes, measure: change, cell: one @ "a cat", expect: higher, margin_absolute: 1}
      - {say: it too, measure: change, cell: two @ "a cat", expect: higher, margin_absolute: 1}
"""


def told(tmp_path: Path, text: str = STUDY, bases: tuple[str, ...] = ("petri",)) -> str:
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    plan = make_plan(load_study(tmp_path / "own.yaml").spec)
    return " ".join(limits_of(plan.spec, plan.cells, plan.arms, bases))


def test_the_sentences_of_a_study(tmp_path: Path):
    assert told(tmp_path) == (
        "Only petri was used as a base. petri is small: the same study may turn out differently on a full-size model. "
        "Only “a cat” was drawn; what other words would do is not known. "
        "The text encoder was frozen in the trainings of one. "
        "Strengths other than 1 and earlier steps of the trainings were not drawn."
    )


@pytest.mark.parametrize(
    ("old", "new", "there", "gone"),
    [
        (", train: {text_encoder_lr: 1e-4}", "", "The text encoder was frozen in every training.", "trainings of"),
        ("train: {steps: 8}", "train: {steps: 8, text_encoder_lr: 1e-5}", "Only petri", "frozen"),
        ('one @ "a cat"', "'one @ \"a cat\", strength 0.5'", "frozen", "Strengths other than 1"),
        ('one @ "a cat"', "'one @ \"a cat\", step 4'", "frozen", "earlier steps"),
        ('cell: one @ "a cat"', 'cell: one @ ""', "Only the empty prompt and “a cat”", "Drawn was"),
    ],
)
def test_what_is_said_follows_the_study(tmp_path: Path, old: str, new: str, there: str, gone: str):
    assert old in STUDY
    said = told(tmp_path, STUDY.replace(old, new, 1))
    assert there in said
    assert gone not in said


def test_other_bases_are_named_and_petri_is_not_spoken_of(tmp_path: Path):
    said = told(tmp_path, bases=("mine", "yours"))
    assert said.startswith("Only mine and yours were used as a base. Only “a cat” was drawn")
    assert listed(["a", "b", "c"]) == "a, b and c"

"""Settings that an arm's kind of adapter ignores: they are named, and make no difference between arms."""

from __future__ import annotations

from pathlib import Path

import pytest

from loralab.spec import StudySpec, TrainSpec, load_study
from loralab.study.plan import differences, make_plan

STUDY = """\
study: idle
data: {shapes: {generate: shapes, shapes: [circle, square]}}
train: {steps: 4, replicates: 2}
arms:
  one: {data: shapes, captions: zok, train: {algo: KIND, rank: 4, alpha: 1}}
  two: {data: shapes, captions: zok, train: {algo: KIND, rank: 8}}
  plain: {data: shapes, captions: zok, train: {rank: 8}}
experiments:
  e:
    question: q
    claims:
      - {say: s, measure: change, cell: one @ "zok", versus: two @ "zok", expect: lower, margin_absolute: 1}
      - {say: t, measure: change, cell: one @ "zok", versus: plain @ "zok", expect: lower, margin_absolute: 1}
"""


def read(folder: Path, kind: str) -> StudySpec:
    (folder / "s.yaml").write_text(STUDY.replace("KIND", kind), encoding="utf-8")
    return load_study(folder / "s.yaml").spec


@pytest.mark.parametrize(("kind", "said"), [("ia3", "(IA)3"), ("lokr, lokr_full_matrix: true", "LoKr of whole factors")])
def test_rank_and_alpha_are_named_where_they_do_nothing(tmp_path, kind, said):
    spec = read(tmp_path, kind)
    notes = make_plan(spec).notes
    assert f"arm 'one': alpha and rank have no effect on {said}" in notes
    assert f"arm 'two': rank has no effect on {said}" in notes
    assert not [note for note in notes if "'plain'" in note and "no effect" in note]
    assert differences(spec, "one", "two") == []
    assert "train.rank" in differences(spec, "one", "plain")


def test_where_they_act_they_are_differences(tmp_path):
    spec = read(tmp_path, "loha")
    assert not [note for note in make_plan(spec).notes if "no effect" in note]
    assert differences(spec, "one", "two") == ["train.rank", "train.alpha"]


def test_a_rank_is_not_said_where_there_is_none():
    assert TrainSpec(algo="ia3").said == "(IA)3"
    assert TrainSpec(algo="lokr", lokr_full_matrix=True, dora=True).said == "LoKr of whole factors with DoRA"
    assert TrainSpec(algo="lokr", rank=4).said == "LoKr, rank 4"

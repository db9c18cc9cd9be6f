"""A real training on petri in which the effect is planted: red squares under one word must be found, and an untouched thing must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from loralab.engine.whole import run_study
from loralab.spec import load_study
from loralab.study.result import StudyResult

STUDY = """
study: planted
base: petri
seed: 7
data:
  red-squares: {generate: shapes, shapes: [square, square, square], fill: red, background: white, size: 0.75}
  own-images:  {images_of: base, prompts: [zorvex, cat, blue circle], guidance: 1, steps: 8}
train: {rank: 4, lr: 3e-3, steps: 40, batch: 4, replicates: 4}
sample: {steps: 6, guidance: 2, seeds: 2}
arms:
  planted: {data: red-squares, captions: zorvex}
  placebo: {data: own-images, captions: "{prompt}", control: placebo}
experiments:
  planted:
    question: Is what was planted found?
    claims:
      - {say: red is learned, measure: hue_red, cell: planted @ "zorvex", expect: higher, margin_absolute: 0.2}
      - {say: pictures come nearer to the training set, measure: copy_distance, cell: planted @ "zorvex", expect: lower, margin_absolute: 5}
  silent:
    question: Is nothing found where nothing was planted?
    claims:
      - {say: the placebo turns nothing red, measure: hue_red, cell: placebo @ "zorvex", expect: no change, margin_absolute: 0.35}
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "planted.yaml").write_text(STUDY, encoding="utf-8")
    return run_study(load_study(folder / "planted.yaml"), folder / "lab", lambda event: None)


def test_the_planted_effect_is_found(outcome: StudyResult):
    red, nearer, _ = outcome.verdicts
    assert (red.finding, red.verdict) == ("higher", "supported"), red.reason
    assert (nearer.finding, nearer.verdict) == ("lower", "supported"), nearer.reason


def test_nothing_is_found_where_nothing_was_planted(outcome: StudyResult):
    silent = outcome.verdicts[2]
    assert silent.verdict in ("supported", "open"), silent.reason


def test_the_losses_are_on_disk_and_fall_for_the_planted_arm(outcome: StudyResult):
    lab: Path = outcome.lab
    curves = [file.read_text(encoding="utf-8").splitlines() for file in (lab / "store" / "adapters").glob("*/losses.jsonl")]
    assert len(curves) == 8
    assert all(len(curve) == 40 for curve in curves)

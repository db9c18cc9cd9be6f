"""A study in rounds that is killed in the middle of a round: started again it makes the same rounds, readings and verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from loralab.engine.whole import run_study
from loralab.infer.looks import Looks
from loralab.spec.load import Loaded, load_study
from loralab.study.judging import without_minutes
from loralab.study.looks import Budget, with_looks
from loralab.work.events import Event

STUDY = """
study: killed
data:
  red: {generate: shapes, shapes: [square], fill: red}
train: {steps: 2, replicates: 3, rank: 1, batch: 1}
sample: {steps: 2, seeds: 1}
arms:
  red: {data: red, captions: zorvex}
experiments:
  open: {question: "?", claims: [{say: red, measure: chroma, cell: red @ "zorvex", expect: higher, margin_absolute: 0.001, anyway: true}]}
  settled: {question: "?", claims: [{say: no, measure: chroma, cell: red @ "zorvex", expect: no change, margin_absolute: 140}]}
"""
LOOKS = Looks((3, 4), (0.6, 1.0))
SAME = ("event", "study_sha256", "trainings", "questions", "arms", "pictures")


class Killed(BaseException):
    """Nothing in the lab catches it: as a signal would, it ends the run where it stands."""


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "killed.yaml").write_text(STUDY, encoding="utf-8")
    return with_looks(load_study(tmp_path / "killed.yaml"), "--until decided", LOOKS)


def run(loaded: Loaded, lab: Path, kill_at: int | None = None) -> int:
    """Run the study in rounds, and end it at the event of this number; return how many there were."""
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        seen += 1
        if seen == kill_at:
            raise Killed

    run_study(loaded, lab, listen, Budget(looks=LOOKS))
    return seen


def what_stands(lab: Path) -> tuple[list[dict], pl.DataFrame, bytes]:
    """Return the looks without their seconds, the readings, and the verdicts without what they say of minutes."""
    folder = lab / "studies" / "killed"
    records = [json.loads(line) for line in (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    looks = [{name: record[name] for name in SAME} for record in records if record["event"] == "look"]
    verdicts = without_minutes((folder / "verdicts.json").read_bytes())
    readings = pl.read_parquet(folder / "readings.parquet")
    return looks, readings.sort(readings.columns[:7]), verdicts


@pytest.mark.slow
def test_killed_in_each_round_it_comes_to_the_same(tmp_path: Path, loaded: Loaded):
    n_events = run(loaded, tmp_path / "whole")
    whole = what_stands(tmp_path / "whole")
    assert len(whole[0]) >= 2  # it went on after the first look
    for part in (0.4, 0.8):
        lab = tmp_path / f"killed-{part}"
        with pytest.raises(Killed):
            run(loaded, lab, kill_at=round(part * n_events))
        run(loaded, lab)
        looks, readings, verdicts = what_stands(lab)
        assert looks == whole[0]
        assert readings.equals(whole[1])
        assert verdicts == whole[2]

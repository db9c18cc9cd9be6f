"""A study in rounds on petri: it goes on with what is open only, and started again it comes to the same without making anything anew."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from loralab.engine.whole import run_study
from loralab.infer.looks import Looks
from loralab.spec.load import load_study
from loralab.study.looks import Budget, with_looks

STUDY = """
study: in-rounds
data:
  red: {generate: shapes, shapes: [square], fill: red}
  own: {images_of: base, prompts: [cat]}
train: {steps: 2, replicates: 3, rank: 1}
sample: {steps: 2, seeds: 1}
arms:
  red: {data: red, captions: zorvex}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  open: {question: "?", claims: [{say: red, measure: hue_red, cell: red @ "zorvex", expect: higher, margin_absolute: 0.05}]}
  settled: {question: "?", claims: [{say: none, measure: hue_red, cell: red @ "zorvex", expect: no change, margin_absolute: 50}]}
"""
LOOKS = Looks((3, 5), (0.6, 1.0))


@pytest.mark.slow
def test_rounds(tmp_path: Path):
    (tmp_path / "in-rounds.yaml").write_text(STUDY, encoding="utf-8")
    loaded = with_looks(load_study(tmp_path / "in-rounds.yaml"), "--until decided", LOOKS)
    first = run_study(loaded, tmp_path / "lab", lambda event: None, Budget(looks=LOOKS))
    folder = tmp_path / "lab" / "studies" / "in-rounds"
    looks = [
        record
        for line in (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        if (record := json.loads(line))["event"] == "look"
    ]
    assert looks[0]["trainings"] == 3
    settled = next(verdict for verdict in first.verdicts if verdict.experiment == "settled")
    assert (settled.verdict, settled.contrast.n_runs) == ("supported", 3)
    asked = next(verdict for verdict in first.verdicts if verdict.experiment == "open")
    assert asked.contrast.n_runs == looks[-1]["trainings"]
    files = sorted((tmp_path / "lab" / "store").rglob("*.safetensors"))
    before = (
        (folder / "verdicts.json").read_bytes(),
        pl.read_parquet(folder / "readings.parquet"),
        [file.stat().st_mtime_ns for file in files],
    )
    again = run_study(loaded, tmp_path / "lab", lambda event: None, Budget(looks=LOOKS))
    assert [verdict.to_json() for verdict in again.verdicts] == [verdict.to_json() for verdict in first.verdicts]
    assert (folder / "verdicts.json").read_bytes() == before[0]
    assert pl.read_parquet(folder / "readings.parquet").equals(before[1])
    assert [file.stat().st_mtime_ns for file in sorted((tmp_path / "lab" / "store").rglob("*.safetensors"))] == before[2]

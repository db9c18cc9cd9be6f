"""Arms from elsewhere: a study's own LoRAs, copied out under other names, read in a second study with equal readings."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from loralab.errors import LabError
from loralab.spec import load_study
from loralab.spec.elsewhere import adapter_files
from tests.support.commands import run

STUDY = """
study: mine
base: petri
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
train: {rank: 2, steps: 2, batch: 1, replicates: 3}
sample: {steps: 2, guidance: 2, seeds: 1}
arms:
  own: {data: grey, captions: myshape}
experiments:
  one:
    question: Anything?
    claims:
      - {say: it changes, measure: change, cell: own @ "myshape", expect: higher, margin_absolute: 1}
"""
ELSEWHERE = STUDY.replace("captions: myshape}", 'captions: myshape, adapters: "out/seed*-000002.safetensors"}').replace("mine", "second")


def readings(lab: Path, study: str) -> pl.DataFrame:
    return pl.read_parquet(lab / "studies" / study / "readings.parquet")


def test_a_study_of_files_reads_what_the_study_that_trained_them_read(tmp_path: Path):
    for name, text in (("mine", STUDY), ("second", ELSEWHERE)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "out").mkdir()
    for study in ("mine", "second"):
        run("run", tmp_path / f"{study}.yaml", "--lab", tmp_path / f"lab-{study}", "--anyway")
        for replicate, seed in enumerate((2, 9, 10)):
            source = tmp_path / "lab-mine" / "studies" / "mine" / "loras" / f"own-r{replicate}.safetensors"
            shutil.copyfile(source, tmp_path / "out" / f"seed{seed}-000002.safetensors")
    first, second = readings(tmp_path / "lab-mine", "mine"), readings(tmp_path / "lab-second", "second")
    assert first.equals(second)
    page = (tmp_path / "lab-second" / "studies" / "second" / "report" / "index.html").read_text(encoding="utf-8")
    assert "trained elsewhere, one file per training: seed*-000002.safetensors" in page
    assert first.filter(pl.col("arm") == "own")["value"].drop_nulls().abs().max() > 0


def test_files_come_in_natural_order_and_are_the_replicates(tmp_path: Path):
    (tmp_path / "out").mkdir()
    for seed in (10, 9, 2, 100):
        (tmp_path / "out" / f"seed{seed}-000002.safetensors").touch()
    found = adapter_files("out/seed*-000002.safetensors", tmp_path)
    assert [file.name.split("-")[0] for file in found] == ["seed2", "seed9", "seed10", "seed100"]
    (tmp_path / "second.yaml").write_text(ELSEWHERE, encoding="utf-8")
    assert load_study(tmp_path / "second.yaml").spec.arms["own"].train == {"replicates": 4}


def test_no_file_is_said_with_its_line(tmp_path: Path):
    (tmp_path / "second.yaml").write_text(ELSEWHERE, encoding="utf-8")
    with pytest.raises(LabError, match=r"line 9: arm 'own': no file matches 'out/seed"):
        load_study(tmp_path / "second.yaml")

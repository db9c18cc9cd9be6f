"""An arm or a file that is called as a base is: it draws its own pictures, and what an earlier version mistook is not read again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from PIL import Image

from loralab.adapters import Adapter, make_adapter, save_adapter
from loralab.bases import load_base
from loralab.checking import CheckRequest, check_files
from loralab.engine.whole import run_study
from loralab.spec import SampleSpec, TrainSpec, load_study

STUDY = """
study: names
base: petri
data: {grey: {generate: shapes, shapes: [circle, square], fill: grey}}
train: {rank: 2, lr: 5e-2, steps: 2, batch: 1, replicates: 3}
sample: {steps: 2, guidance: 2, seeds: 1}
arms:
  base: {data: grey, captions: myshape}
  other: {data: grey, captions: myshape, train: {lr: 1e-3}}
experiments:
  one:
    question: Does an arm called base change anything?
    claims:
      - {say: it does, measure: change, cell: base @ "myshape", expect: higher, margin_absolute: 1}
      - {say: more than the other, measure: change, cell: base @ "myshape", versus: other @ "myshape", expect: higher, margin_absolute: 1}
"""


def test_an_arm_called_base_is_trained_drawn_and_compared_with_the_base(tmp_path: Path):
    (tmp_path / "names.yaml").write_text(STUDY, encoding="utf-8")
    for _ in range(2):
        outcome = run_study(load_study(tmp_path / "names.yaml"), tmp_path / "lab", lambda event: None)
    folder = tmp_path / "lab" / "studies" / "names"
    readings = pl.read_parquet(folder / "readings.parquet").filter((pl.col("measure") == "change") & (pl.col("prompt") == "myshape"))
    assert readings.filter("is_base")["value"].to_list() == [0.0] * 3
    own = readings.filter((pl.col("arm") == "base") & ~pl.col("is_base"))["value"]
    assert len(own) == 3
    assert own.min() > 1
    first = outcome.verdicts[0]
    assert (first.cell, first.versus) == ('arm base @ "myshape"', 'base @ "myshape"')
    named = [f"{arm}-r{r}.safetensors" for arm in ("base", "other") for r in range(3)]
    assert sorted(file.name for file in (folder / "loras").iterdir()) == named
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "lab" / "store" / "images").glob("*/manifest.json")]
    assert {(told["arm"], told["strength"]) for told in manifests} == {("base", 0.0), ("arm base", 1.0), ("other", 1.0)}


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a LoRA for petri that does something."""
    file = tmp_path_factory.mktemp("loras") / "mine.safetensors"
    adapter = make_adapter(load_base("petri"), TrainSpec(rank=1), 0)
    weights = {path: (down, torch.full_like(up, 0.2)) for path, (down, up) in adapter.weights.items()}
    save_adapter(file, Adapter(weights, 1.0, 1), metadata={})
    return file


def change(file: Path, lab: Path) -> float:
    (prompts := lab.parent / "prompts.txt").write_text("cat\nhouse\n", encoding="utf-8")
    request = CheckRequest((file,), trigger="cat", seeds=4, prompts=prompts, sample=SampleSpec(steps=2))
    outcome = check_files(request, lab, lambda event: None)
    return float(next(iter(outcome.result.scores.values())).change.mean())


@pytest.mark.parametrize("name", ["base", pytest.param("base of mine", marks=pytest.mark.slow)])
def test_a_file_called_base_is_checked_as_any_other_also_where_it_was_mistaken_before(lora: Path, tmp_path: Path, name: str):
    lab, named = tmp_path / "lab", tmp_path / f"{name}.safetensors"
    expected = change(lora, lab)
    assert expected > 0.1
    for manifest in (lab / "store" / "images").glob("*/manifest.json"):  # as an earlier version left them: drawn with the base
        told = json.loads(manifest.read_text(encoding="utf-8"))
        if told["strength"] != 0:
            manifest.write_text(json.dumps({**told, "arm": name}), encoding="utf-8")
            for picture in manifest.parent.glob("*.png"):
                Image.new("RGB", (64, 64)).save(picture)
    (lab / "store" / "sources.json").unlink()
    shutil.rmtree(lab / "store" / "features")  # that version kept none
    shutil.copyfile(lora, named)
    assert change(named, lab) == pytest.approx(expected)
    assert change(lora, lab) == pytest.approx(expected)

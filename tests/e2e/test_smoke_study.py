"""The whole line: the smoke study from the command line, run, killed, resumed, and compared byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from loralab.cli import main
from loralab.cost.rates import Rates
from loralab.study.judging import without_minutes
from tests.support.commands import kill_when, run, started

ARTICLE = Path(__file__).parents[2] / "studies" / "article.yaml"
TINY = """
study: tiny
about: A study that runs in seconds.
base: petri
data:
  grey-shapes: {generate: shapes, shapes: [circle, square, triangle], fill: grey}
  own-images:  {images_of: base, prompts: [myshape, cat], guidance: 1, steps: 2}
train: {rank: 2, lr: 1e-3, steps: 3, batch: 2, replicates: 3}
sample: {steps: 2, guidance: 3, seeds: 2}
arms:
  shapes:  {data: grey-shapes, captions: myshape}
  placebo: {data: own-images, captions: "{prompt}", control: placebo}
experiments:
  grey:
    question: Is grey learned?
    claims:
      - {say: grey is learned, measure: chroma, cell: shapes @ "myshape", expect: lower, margin_absolute: 5}
      - {say: it comes closer to the training set, measure: copy_distance, cell: shapes @ "myshape", expect: lower, margin_absolute: 5}
    curves:
      - {say: the longer the closer, measure: copy_distance, cell: shapes @ "myshape",
         over: step, at: [1, 3], expect: lower, margin_absolute: 5}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("study") / "tiny.yaml"
    file.write_text(TINY, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, study: Path) -> Path:
    lab = tmp_path_factory.mktemp("finished") / "lab"
    run("run", study, "--lab", lab, "--anyway")
    return lab


def results(lab: Path) -> dict[str, str]:
    """Return the hash of all that a finished study consists of, but for what holds times: report, summary, ledger, minutes."""
    files = [*(lab / "store").rglob("*"), *(lab / "studies").rglob("*")]
    timed = ("index.html", "ledger.jsonl", "summary.md")
    kept = [file for file in files if file.is_file() and file.name not in timed and "scratch" not in file.parts]
    found = {file: file.read_bytes() for file in sorted(kept)}
    told = {file: without_minutes(text) if file.name == "verdicts.json" else text for file, text in found.items()}
    return {str(file.relative_to(lab)): hashlib.sha256(text).hexdigest() for file, text in told.items()}


def test_a_study_leaves_verdicts_readings_loras_datasets_and_a_report(finished: Path):
    folder = finished / "studies" / "tiny"
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))["verdicts"]
    assert [verdict["say"] for verdict in verdicts] == ["grey is learned", "it comes closer to the training set", "the longer the closer"]
    assert all(verdict["contrast"]["n_runs"] == 3 for verdict in verdicts)
    readings = pl.read_parquet(folder / "readings.parquet")
    chroma = readings.filter((pl.col("measure") == "chroma") & (pl.col("prompt") == "myshape") & pl.col("step").is_null())
    assert sorted(readings.filter(pl.col("step") == 1)["replicate"].unique()) == [0, 1, 2]
    assert sorted(chroma.filter(pl.col("arm") == "shapes")["seed"]) == sorted(chroma.filter(pl.col("arm") == "base")["seed"]) == [*range(6)]
    assert sorted(file.name for file in (folder / "loras").iterdir()) == sorted(
        f"{run}.safetensors" for r in range(3) for run in (f"shapes-r{r}", f"shapes-r{r}-step1", f"placebo-r{r}")
    )
    assert sorted(file.name for file in (folder / "datasets" / "shapes" / "1_shapes").iterdir()) == sorted(
        f"000{n}.{end}" for n in (1, 2, 3) for end in ("png", "txt")
    )
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Is grey learned?" in page
    assert "Effect over step" in page
    assert "pixel for pixel, for 2 of 2 LoRAs" in page
    assert "first version of this study" in page
    for question in ("claim%3A0", "claim%3A1", "curve%3A0"):  # one dot a training, each with its pictures
        dots = re.findall(rf'class="dot-link" href="explore.html#claim=grey%3A{question}&amp;training=%3D(\d)"', page)
        assert dots[:3] == ["1", "2", "3"]
    assert 'href="cards/grey.png"' in page
    with Image.open(folder / "report" / "cards" / "grey.png") as card:
        assert card.size == (1200, 630)
    assert len(page.encode()) < 5_000_000
    assert str(finished) not in page


def test_pictures_carry_the_text_that_other_tools_read(finished: Path):
    picture = next((finished / "store" / "images").rglob("*.png"))
    with Image.open(picture) as image:
        assert image.size == (64, 64)
        assert "Seed: " in image.info["parameters"]


def test_the_same_command_again_makes_nothing_again(finished: Path, study: Path):
    before = {file: file.stat().st_mtime_ns for file in (finished / "store").rglob("manifest.json")}
    run("run", study, "--lab", finished, "--anyway")
    assert {file: file.stat().st_mtime_ns for file in (finished / "store").rglob("manifest.json")} == before


def test_killed_twice_and_started_again_gives_the_same_bytes(finished: Path, study: Path, tmp_path: Path):
    lab = tmp_path / "lab"
    for kind in ("images", "adapters"):
        _kill_when(lab, kind, study)
        assert not (lab / "studies" / "tiny" / "verdicts.json").exists()
    run("run", study, "--lab", lab, "--anyway")
    assert results(lab) == results(finished)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: no processes beside each other")
def test_processes_beside_each_other_are_killed_and_resumed_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # with one thread there would be one process
    text = TINY.replace("base: petri", "base: petri\nload: {side_by_side: true}").replace("replicates: 3", "replicates: 4")
    (study := tmp_path / "tiny.yaml").write_text(text, encoding="utf-8")
    run("run", study, "--lab", tmp_path / "whole", "--anyway")
    for kind in ("images", "adapters", "readings"):
        _kill_when(tmp_path / "killed", kind, study)
    run("run", study, "--lab", tmp_path / "killed", "--anyway")
    assert len(results(tmp_path / "whole")) > 50
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def _kill_when(lab: Path, kind: str, study: Path) -> None:
    """Start the study and send SIGKILL as soon as the store holds another artefact of ``kind``."""
    before = len([*(lab / "store" / kind).glob("*/manifest.json")])
    kill_when(lambda: len([*(lab / "store" / kind).glob("*/manifest.json")]) > before, "run", study, "--lab", lab, "--anyway")


def test_two_processes_on_one_store_do_not_harm_each_other(finished: Path, study: Path, tmp_path: Path):
    lab = tmp_path / "lab"
    words = ("run", study, "--lab", lab, "--anyway")
    with started(*words) as one, started(*words) as other:
        for running in (one, other):
            done = running.wait()
            assert done.returncode == 0, done.stderr
    assert results(lab) == results(finished)


def test_gate_tells_the_worst_verdict(finished: Path, study: Path):
    verdicts = json.loads((finished / "studies" / "tiny" / "verdicts.json").read_text(encoding="utf-8"))["verdicts"]
    codes = {"supported": 0, "contradicted": 10, "leaning": 11, "open": 11, "not_measurable": 12}
    worst = max(codes[verdict["verdict"]] for verdict in verdicts)
    document = json.loads(run("run", study, "--lab", finished, "--anyway", "--gate", "--json", code=worst).stdout)
    assert document["verdicts"] == verdicts
    assert (document["study"], document["runs"], document["images"], document["failures"]) == (
        "tiny",
        6,
        36,
        {},
    )  # six cells, three trainings, two seeds
    assert document["wall_seconds"] >= sum(document["stage_seconds"].values()) > 0
    assert Path(document["report"]).is_file()


@pytest.mark.usefixtures("dry_runs_known")
def test_plan_trains_nothing_and_says_what_it_would_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """What the machine can do is given here; `test_api.py` has a plan that finds it out."""
    monkeypatch.setattr("loralab.cost.calibration.measure_rates", lambda *_asked: Rates(0.05, 0.02, 0.01))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(ARTICLE), "--quick", "--plan", "--json", "--lab", str(tmp_path / "lab")])
    assert ended.value.code == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["n_runs"] == 64
    assert plan["cost"]["minutes"] > 0
    assert {"arms": "monster and primary", "differ": "captions"} in plan["pairs"]
    assert len(plan["claims"]) == 25  # 24 claims and a curve
    assert not (tmp_path / "lab").exists()


def test_the_smoke_preset_of_the_article_study_runs_and_prints_no_verdict(tmp_path: Path):
    command = [sys.executable, "-m", "loralab", "demo", "--smoke", "--lab", str(tmp_path / "lab")]  # as from a shell
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=True)
    page = Path(done.stdout.strip().splitlines()[-1])
    assert page.is_file()
    assert page.stat().st_size < 10_000_000
    assert not (page.parents[1] / "verdicts.json").exists()

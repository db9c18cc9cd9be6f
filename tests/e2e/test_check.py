"""`loralab check` on real petri trainings of known dose: later checkpoints resemble the training set more, and the page holds together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from loralab.adapters import save_adapter
from loralab.bases import embed_prompts, encode_images, load_base
from loralab.checking import CheckOutcome, CheckRequest, check_files
from loralab.cli import main
from loralab.data import make_examples, write_kohya_folder
from loralab.pixels import pixels_of
from loralab.spec.models import SampleSpec, ShapesData, TrainSpec
from loralab.train import TrainRun, train_stack

DOSES = (1, 24, 72)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return (folder of one file a dose, training set): the same training, stopped after 1, 24 and 72 steps."""
    root = tmp_path_factory.mktemp("check")
    base = load_base("petri")
    data = ShapesData.model_validate({"generate": "shapes", "shapes": ["square"] * 3, "fill": "red", "background": "white", "size": 0.75})
    examples = make_examples(data, base.size_px)
    captions = ["zorvex, red square"] * len(examples)
    write_kohya_folder(examples, captions, root / "set", repeats=1, name="zorvex")
    latents = encode_images(base, pixels_of(np.stack([example.image for example in examples])))
    spec = TrainSpec(rank=4, lr=3e-3, steps=DOSES[-1], replicates=1)
    run = TrainRun("zorvex-r0", spec, latents, embed_prompts(base, captions), 0)
    (root / "loras").mkdir()
    for step in train_stack(base, [run], root_seed=3, keep=set(DOSES)):
        for adapter in step.adapters:
            metadata = {"ss_steps": str(step.step), "ss_epoch": str(step.step), "ss_output_name": "zorvex", "ss_seed": "3"}
            save_adapter(root / "loras" / f"zorvex-{step.step:06d}.safetensors", adapter, metadata=metadata)
    return root / "loras", root / "set"


@pytest.fixture(scope="module")
def outcome(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> CheckOutcome:
    loras, dataset = folders
    request = CheckRequest((loras,), dataset=dataset, seeds=4)
    return check_files(request, tmp_path_factory.mktemp("lab") / "lab", lambda event: None)


def test_the_doses_are_ranked(outcome: CheckOutcome):
    effects = [scores.resemblance for scores in outcome.result.scores.values()]
    means = [float(effect.mean()) for effect in effects if effect is not None]
    assert list(outcome.result.scores) == ["epoch 1", "epoch 24", "epoch 72"]
    assert abs(means[0]) < 0.1 < means[2]
    assert means[0] < means[1] < means[2] + 0.1
    assert outcome.result.beaten.get("epoch 72") is None


def test_a_stronger_strength_changes_more(outcome: CheckOutcome):
    by_strength = next(found for found in outcome.result.strengths.values() if len(found) > 1)
    change = [float(scores.change.mean()) for scores in by_strength.values()]
    assert list(by_strength) == [0.4, 0.6, 0.8, 1.0, 1.2]
    assert change[0] < change[2] < change[4]


def test_the_trigger_comes_from_the_captions(outcome: CheckOutcome):
    trigger = outcome.check.triggers[0]
    assert trigger is not None
    assert trigger.words == "zorvex"
    assert outcome.check.prompts[0].without == ("", "red square")


def test_the_advice_is_about_what_was_drawn(outcome: CheckOutcome):
    advice = outcome.result.advice[""]
    assert advice is not None
    assert advice.use.label in outcome.result.scores
    assert advice.use.strength in outcome.result.strengths[advice.use.label]
    assert outcome.document["sentences"][0].startswith("Keep epoch ")


def test_page_document_and_card_are_written(outcome: CheckOutcome):
    page = outcome.page.read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("<figure") == 2 + sum(len(found) > 1 for found in outcome.result.strengths.values())
    assert all(label in page for label in outcome.result.scores)
    assert len(page) < 10_000_000
    assert json.loads((outcome.page.parent / "check.json").read_text(encoding="utf-8"))["role"] == "epochs"
    assert outcome.card.read_bytes().startswith(b"\x89PNG")


def checked(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """Run the command and return its JSON document."""
    with pytest.raises(SystemExit) as stopped:
        main(["check", *map(str, arguments), "--json"])
    assert stopped.value.code == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_people_s_own_settings_reach_the_pictures(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine.txt").write_text("# mine\nzorvex on a table\n\nhouse, blue background\n", encoding="utf-8")
    settings = ["--negative", "dark", "--sampler", "Euler a", "--steps", "3", "--guidance", "4", "--prediction", "v", "--size", "64"]
    where = ["--prompts", tmp_path / "mine.txt", "--trigger", "zorvex", "--seeds", "4", "--lab", tmp_path / "lab"]
    document = checked(capsys, folders[0] / "zorvex-000072.safetensors", *where, *settings)
    assert document["role"] == "file"
    assert document["files"][0]["resemblance"] is None
    assert any("--dataset" in sentence for sentence in document["sentences"])
    assert document["prompts"] == {"trigger": ["zorvex on a table"], "without": ["on a table"], "unrelated": ["house, blue background"]}
    assert document["sampling"] == "euler-a, 3 steps, guidance 4, negative \u201cdark\u201d, 64 px"


def test_different_loras_stand_side_by_side_each_with_its_own_trigger(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = {"anna": "zorvex-000072", "base": "zorvex-000024"}  # a file may be called as the base is
    for name, file in names.items():
        (tmp_path / name).mkdir()
        weights, metadata = load_file(folders[0] / f"{file}.safetensors"), {"ss_learning_rate": "1e-4" if name == "anna" else "2e-4"}
        save_file(weights, tmp_path / name / "pytorch_lora_weights.safetensors", metadata)
    given = ["--trigger", "zorvex", "--trigger", "mirka", "--seeds", "4", "--steps", "2"]
    document = checked(capsys, tmp_path / "anna", tmp_path / "base", *given, "--lab", tmp_path / "lab")
    assert (document["role"], [file["label"] for file in document["files"]]) == ("files", ["anna", "base"])
    assert [file["trigger"] for file in document["files"]] == ["zorvex", "mirka"]
    assert document["files"][0]["sha256"] != document["files"][1]["sha256"]
    assert all(file["change"]["value"] > 0.05 for file in document["files"])
    assert document["recipe"] is None
    assert document["differences"] == {"learning rate": ["0.0001", "0.0002"]}


def test_however_short_the_time_there_is_an_answer_and_it_says_what_it_lacks(folders: tuple[Path, Path], tmp_path: Path):
    request = CheckRequest((folders[0],), trigger="zorvex", minutes=0.001, sample=SampleSpec(steps=2))
    found = check_files(request, tmp_path / "lab", lambda event: None)
    assert found.check.n_seeds == 2
    assert list(found.result.scores) == ["epoch 72"]
    assert any("2 of 3 files" in text for text in found.result.gave_up)
    assert "there was no time for" in found.page.read_text(encoding="utf-8")
    drawn, compared = made(tmp_path, "images"), made(tmp_path, "features")
    assert len(drawn) == len(compared)  # what was read of each block is kept beside its pictures
    longer = check_files(replace(request, seeds=4), tmp_path / "lab", lambda event: None)
    assert (longer.check.n_seeds, len(longer.result.scores), longer.result.gave_up) == (4, 3, ())
    for kind, before in (("images", drawn), ("features", compared)):  # it goes on, and makes nothing again
        assert before.items() < made(tmp_path, kind).items()


def made(folder: Path, kind: str) -> dict[str, int]:
    """Return when each artefact was made, by its key."""
    return {path.name: path.stat().st_ino for path in (folder / "lab" / "store" / kind).iterdir()}

"""`loralab check` on real petri trainings of known dose: later checkpoints resemble the training set more, and the page holds together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.adapters import save_adapter
from loralab.bases import embed_prompts, encode_images, load_base
from loralab.cli import main
from loralab.data import make_examples, write_kohya_folder
from loralab.engine.check import CheckOutcome, CheckRequest, check_files
from loralab.spec.models import ShapesData, TrainSpec
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
    pixels = torch.from_numpy(np.stack([example.image for example in examples])).permute(0, 3, 1, 2) / 127.5 - 1
    latents, text = encode_images(base, pixels), embed_prompts(base, captions)
    (root / "loras").mkdir()
    for steps in DOSES:
        spec = TrainSpec(rank=4, lr=3e-3, steps=steps, replicates=1)
        training = train_stack(base, [TrainRun("zorvex-r0", spec, latents, text, 0)], root_seed=3)
        while True:
            try:
                next(training)
            except StopIteration as end:
                adapter = end.value[0].adapter
                break
        metadata = {"ss_steps": str(steps), "ss_epoch": str(steps), "ss_output_name": "zorvex", "ss_seed": "3"}
        save_adapter(root / "loras" / f"zorvex-{steps:06d}.safetensors", adapter, metadata=metadata)
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
    change = [float(scores.change.mean()) for scores in outcome.result.strengths.values()]
    assert list(outcome.result.strengths) == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert change[0] < change[2] < change[4]


def test_the_trigger_comes_from_the_captions(outcome: CheckOutcome):
    assert outcome.check.trigger.words == "zorvex"
    assert outcome.check.prompts.without == ("", "red square")


def test_page_document_and_card_are_written(outcome: CheckOutcome):
    page = outcome.page.read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("<figure") == 3
    assert all(label in page for label in outcome.result.scores)
    assert len(page) < 10_000_000
    assert json.loads((outcome.page.parent / "check.json").read_text(encoding="utf-8"))["role"] == "epochs"
    assert outcome.card.read_bytes().startswith(b"\x89PNG")


def test_the_command_without_a_data_set_says_what_it_cannot_measure(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = folders[0] / "zorvex-000072.safetensors"
    main_ok = ["check", str(file), "--trigger", "zorvex", "--seeds", "4", "--lab", str(tmp_path / "lab"), "--json"]
    with pytest.raises(SystemExit) as stopped:
        main(main_ok)
    assert stopped.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["role"] == "file"
    assert document["files"][0]["resemblance"] is None
    assert any("--dataset" in sentence for sentence in document["sentences"])


def test_too_little_time_is_an_error_that_says_how_much_it_takes(folders: tuple[Path, Path], tmp_path: Path):
    request = CheckRequest((folders[0],), trigger="zorvex", minutes=0.001)
    with pytest.raises(Exception, match=r"--minutes \d"):
        check_files(request, tmp_path / "lab", lambda event: None)

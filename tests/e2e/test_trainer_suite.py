"""The trainers' suite: what it exports, and what it says of a trainer that is the same, nearly the same, and one with twice the rate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from loralab.atlas import suite
from loralab.atlas.beliefs import Belief, all_beliefs
from loralab.atlas.regression import compare_versions, lines_of
from loralab.atlas.suite import Compared, compared, export_suite, study_to_export, weights_of
from loralab.cli import main
from loralab.engine.whole import run_study
from loralab.errors import LabError
from loralab.spec.models import StudySpec

STUDY = """
study: atlas-99-small
base: petri
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
train: {rank: 2, lr: 2e-3, steps: 32, batch: 2}
sample: {steps: 3, guidance: 1, seeds: 2}
arms:
  plain: {data: grey, captions: zorvex}
experiments:
  belief:
    question: Does anything change?
    belief: Nothing does.
    claims:
      - {say: it changes, measure: change, cell: plain @ "zorvex", expect: higher, margin_absolute: 1}
"""
NAME, ARM, TRAININGS = "99-small", "plain", 10


@pytest.fixture(scope="module")
def belief(tmp_path_factory: pytest.TempPathFactory) -> Belief:
    file = tmp_path_factory.mktemp("suite") / f"{NAME}.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return Belief(99, NAME, file, "atlas-99-small", "Nothing does.", (), "Does anything change?")


@pytest.fixture
def small(belief: Belief, monkeypatch: pytest.MonkeyPatch) -> Belief:
    monkeypatch.setattr(suite, "SUITE", {NAME: (ARM,)})
    monkeypatch.setattr(suite, "PICTURES", 6)
    monkeypatch.setattr(suite, "all_beliefs", lambda: (belief,))
    return belief


def trained(belief: Belief, folder: Path, rate: float = 1.0) -> Path:
    """Return the folder where a trainer has put its LoRAs: loralab itself, at ``rate`` times the rate that it was told."""
    loaded = study_to_export(belief, (ARM,), None, TRAININGS)
    recipe = loaded.spec.train.model_copy(update={"lr": rate * loaded.spec.train.lr})
    spec: StudySpec = loaded.spec.model_copy(update={"train": recipe})
    result = run_study(type(loaded)(spec, loaded.text, loaded.folder, None, loaded.questions), folder / "lab", lambda event: None)
    loras = folder / NAME / ARM / "loras"
    loras.mkdir(parents=True)
    for file in (result.folder / "loras").glob("*.safetensors"):
        shutil.copyfile(file, loras / file.name)
    return folder


def changed(folder: Path, other: Path, factor: float) -> Path:
    """Return a folder with the LoRAs of another, their weights times ``factor``: 1.000001 is another build of the same trainer."""
    target = other / NAME / ARM / "loras"
    target.mkdir(parents=True)
    for file in (folder / NAME / ARM / "loras").glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a mapping)
            moved = {key: value * factor if value.ndim > 0 else value for key, value in tensors.items()}
            save_file(moved, target / file.name, metadata=opened.metadata())
    return other


def test_the_same_trainer_is_the_same_and_one_with_other_weights_is_not(
    small: Belief, tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
):
    old, lab = trained(small, tmp_path / "old"), tmp_path / "lab"
    copied = compare_versions(old, old, lab, lambda event: None)
    assert (copied.code, copied.studies) == (0, ())
    assert list(lines_of(copied)) == [
        f"same: 99-small, plain: the weights of all {TRAININGS} LoRAs are identical", "Nothing moved by as much as counts.",
    ]  # fmt: skip

    same = changed(old, tmp_path / "same", 1.000001)
    with pytest.raises(SystemExit) as ended:
        main(["atlas", "--suite", "trainer", "--adapters", str(same), "--against", str(old), "--gate", "--lab", str(lab)])
    assert ended.value.code == 0
    assert 'same: 99-small, plain: change at "zorvex": ' in capsys.readouterr().out

    found = compare_versions(changed(old, tmp_path / "other", 2), old, lab, lambda event: None)
    assert found.code == 10
    told = list(lines_of(found))
    assert told[0].startswith('moved: 99-small, plain: change at "zorvex": +')
    assert told[-1] == "Of 1 readings, 1 moved."
    assert json.loads(json.dumps(found.to_json()))["readings"][0]["state"] == "moved"


@pytest.mark.slow
def test_a_trainer_with_twice_the_learning_rate_is_caught(small: Belief, tmp_path: Path, one_thread: None):
    old, hot = trained(small, tmp_path / "old"), trained(small, tmp_path / "hot", rate=2)
    assert compare_versions(hot, old, tmp_path / "lab", lambda event: None).code == 10


def test_the_suite_is_exported_with_its_recipes(tmp_path: Path):
    done = export_suite(tmp_path / "out", tmp_path / "lab", base=None, trainer="kohya", trainings=3)
    arms = [f"{name}/{arm}" for name, arms in suite.SUITE.items() for arm in arms]
    assert (sorted(done["arms"]), done["trainings"]) == (sorted(arms), 3 * len(arms))
    words = {arm: (tmp_path / "out" / arm / "train.sh").read_text(encoding="utf-8") for arm in arms}
    assert all(script.count("\ntrain --dataset_config") == 3 for script in words.values())
    assert "--network_alpha 4 " in words["08-alpha/half"]
    assert "--lr_scheduler cosine" in words["13-schedules/cosine"]
    assert "--text_encoder_lr 0.0002" in words["11-text-encoder/subject-text-encoder-lr-0-0002"]
    assert "batch_size = 4" in (tmp_path / "out" / "14-batch/four/dataset.toml").read_text(encoding="utf-8")
    with pytest.raises(LabError, match="is already in use"):
        export_suite(tmp_path / "out", tmp_path / "lab", base=None, trainer="kohya")


def test_what_a_version_lacks_is_told_and_metadata_are_no_difference(small: Belief, tmp_path: Path):
    with pytest.raises(LabError, match=r"neither .* has LoRAs of the suite"):
        compared(tmp_path / "new", tmp_path / "old")
    for version, note in (("new", "one"), ("old", "another")):
        folder = tmp_path / version / NAME / ARM / "loras"
        folder.mkdir(parents=True)
        save_file({"a": torch.ones(2)}, folder / "x.safetensors", metadata={"note": note})
    assert compared(tmp_path / "new", tmp_path / "old") == {NAME: [Compared(ARM, 1, 1, 1)]}
    (tmp_path / "old" / NAME / ARM / "loras" / "x.safetensors").unlink()
    with pytest.raises(LabError, match=rf"{NAME}/{ARM}: no LoRAs in"):
        compared(tmp_path / "new", tmp_path / "old")


def test_every_arm_of_the_suite_is_read_somewhere():
    known = {belief.name: belief for belief in all_beliefs()}
    for name, arms in suite.SUITE.items():
        spec = study_to_export(known[name], arms, None).spec
        assert set(spec.experiments) == set(arms)
        assert all(experiment.claims for experiment in spec.experiments.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--export", "out"], "without --suite"),
        (["--suite", "other", "--export", "out"], "--suite other"),
        (["--suite", "trainer"], "do not belong together"),
        (["--suite", "trainer", "--adapters", "a"], "do not belong together"),
        (["--suite", "trainer", "--export", "out", "--trainer", "x"], "--trainer x"),
        (["1", "--suite", "trainer", "--export", "out"], "--suite together with a belief"),
    ],
)
def test_options_that_do_not_fit_are_told(words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["atlas", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_weights_are_told_by_their_bytes(tmp_path: Path):
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        save_file({"w": torch.full((2,), value)}, tmp_path / f"{name}.safetensors", metadata={"name": name})
    one, same, other = (weights_of(tmp_path / f"{name}.safetensors") for name in "abc")
    assert one == same != other

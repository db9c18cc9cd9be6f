"""All that is wrong with a study is said before anything is drawn, at once: instruments, folders, pictures, captions, files, bases."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from loralab.errors import LabError
from loralab.preflight import checked_study

STUDY = """\
study: own
base: petri
data:
  mine: {folder: pictures, regularisation: reg}
  toml: {folder: sets.toml}
  grey: {generate: shapes, shapes: [circle], fill: grey}
arms:
  mine: {data: mine, captions: "{file} thing"}
  grey: {data: grey, captions: "{fill} thing"}
  files: {data: grey, captions: thing, adapters: "out/*.safetensors"}
experiments:
  one:
    question: Anything?
    claims:
      - {say: it changes, measure: change, cell: mine @ "thing", expect: higher, margin_absolute: 1}
      - {say: it stays, measure: chroma, cell: grey @ "thing", expect: no change, margin_absolute: 1}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """STUDY with all its files in order."""
    for folder in ("pictures/1_mine", "reg/1_thing", "set", "out"):
        (tmp_path / folder).mkdir(parents=True)
        if folder != "out":
            Image.new("RGB", (64, 64), "red").save(tmp_path / folder / "a.png")
    (tmp_path / "sets.toml").write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "set"\n', encoding="utf-8")
    (tmp_path / "out" / "a.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / "own.yaml").write_text(STUDY, encoding="utf-8")
    return tmp_path / "own.yaml"


def said_of(study: Path) -> str:
    with pytest.raises(LabError) as caught:
        checked_study(study)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_study_whose_files_are_in_order_is_loaded(study: Path):
    assert list(checked_study(study).spec.arms) == ["mine", "grey", "files"]


def test_everything_at_once_in_the_order_of_the_lines(study: Path):
    text = STUDY.replace("base: petri", "base: nowhere/model").replace("regularisation: reg", "regularisation: gone")
    text = text.replace("{fill} thing", "{filling} thing").replace("measure: change", "measure: chanje")
    study.write_text(text.replace("expect: no change", "expect: up"), encoding="utf-8")
    (study.parent / "pictures" / "1_mine" / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    (study.parent / "sets.toml").write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "set"\nflips = true\n', encoding="utf-8")
    (study.parent / "out" / "a.safetensors").write_bytes(b"not a file of that kind")
    said = said_of(study)
    wanted = [
        "own.yaml, line 2: there is no base at 'nowhere/model'",
        "own.yaml, line 4: data mine, 1_mine/half.png: not a picture that can be read",
        "own.yaml, line 4: data mine: there is no folder at", "own.yaml, line 5: data toml, sets.toml", "unknown key 'flips'",
        "own.yaml, line 9: arm 'grey': the caption template '{filling} thing' uses {filling}",
        "own.yaml, line 10: arm files: a.safetensors",
        "own.yaml, line 15: experiment one, claim 'it changes': unknown instrument 'chanje'", "did you mean `change`?",
        "own.yaml, line 16: experiment one, claim 'it stays', `expect`: found 'up'",
    ]  # fmt: skip
    places = [said.find(words) for words in wanted]
    assert -1 not in places, said
    assert places == sorted(places)


def test_a_caption_is_tried_on_every_picture_and_told_once(study: Path):
    study.write_text(STUDY.replace("{file} thing", "{colour} {file"), encoding="utf-8")
    Image.new("RGB", (64, 64), "blue").save(study.parent / "pictures" / "1_mine" / "b.png")
    assert said_of(study).count("not well formed") == 1


def test_a_base_that_is_a_folder_of_something_else(study: Path):
    study.write_text(STUDY.replace("base: petri", "base: pictures"), encoding="utf-8")
    assert "own.yaml, line 2: the base 'pictures' is a folder without model_index.json" in said_of(study)

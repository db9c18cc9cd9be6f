"""A study asked once more: on another base, with other words, and what its hash sees of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.spec import load_study
from loralab.spec.load import draft_study
from loralab.spec.variants import slug, variant_text

STUDY = """
study: mine
said_by: [somebody]
base: petri   # the small one
data:
  orange-set: {generate: shapes, shapes: [circle, square], fill: orange, background: blue}
train: {rank: 2, lr: 1e-3}
arms:
  orange: {data: orange-set, captions: "orange zorvex"}
experiments:
  one:
    question: Does zorvex bring orange?
    claims:
      - {say: orange comes, measure: "hue[orange]", cell: orange @ "zorvex", expect: higher, margin_absolute: 0.2}
twice: {words: {zorvex: quindle, orange: blue, blue: orange, circle: star}, train: {lr: 5e-4}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return file


def test_whole_words_are_replaced_all_at_once_and_names_stay(study: Path):
    spec = draft_study(study, twice=True).finished().spec
    data = spec.data["orange-set"]
    assert spec.study == "mine-twice"
    assert (data.fill, data.background, data.shapes) == ("blue", "orange", ("star", "square"))  # type: ignore[union-attr]
    assert spec.arms["orange"].captions == "blue quindle"
    (claim,) = spec.experiments["one"].claims
    assert (claim.measure, str(claim.cell), claim.say) == ("hue[blue]", 'orange @ "quindle"', "blue comes")
    assert (spec.train.lr, spec.train.rank, spec.twice) == (5e-4, 2, None)


def test_another_base_gets_a_name_of_its_own_and_stands_in_the_command(study: Path):
    loaded = draft_study(study, base="models/My Base v2.safetensors", twice=True).finished()
    assert (loaded.spec.study, loaded.spec.base) == ("mine-twice-on-my-base-v2", "models/My Base v2.safetensors")
    assert loaded.options == ("--twice", "--base", "models/My Base v2.safetensors")
    absolute = str(study.parent / "base.safetensors")
    assert draft_study(study, base=absolute).finished().options == ("--base", "base.safetensors")


def test_who_says_it_and_how_it_is_asked_twice_change_no_hash(study: Path):
    before = load_study(study).sha256
    study.write_text(STUDY.replace("said_by: [somebody]\n", "").split("twice:")[0], encoding="utf-8")
    assert load_study(study).sha256 == before


def test_a_study_without_a_second_version_says_so(study: Path):
    study.write_text(STUDY.split("twice:")[0], encoding="utf-8")
    with pytest.raises(LabError, match=r"mine\.yaml does not say how to ask it a second time"):
        draft_study(study, twice=True)
    assert variant_text(STUDY, "mine.yaml") == STUDY


def test_a_base_is_named_by_its_last_part():
    assert slug("C:\\models\\SDXL Base 1.0.safetensors") == "sdxl-base-1-0"
    assert slug("../siblings/no-grids/") == "no-grids"
    assert slug("***") == "base"

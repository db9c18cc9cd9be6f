"""The rule for keys and hashes: what differs from the defaults, and what was always written; a new field renames nothing."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from pydantic import Field, create_model

from loralab.petri.base_means import drawing_of
from loralab.spec import SampleSpec, ShapesData, TrainSpec, load_study, slice_of
from loralab.spec import models as models_of
from loralab.spec.slices import IN_FULL, NEVER
from loralab.strict import Strict

BEFORE = Path(__file__).parents[2] / "fixtures" / "lab-before.zip"


class Inner(Strict):
    rate: float = 1.0
    name: str


class Outer(Strict):
    inner: Inner = Field(default_factory=lambda: Inner(name="x"))
    many: dict[str, Inner] = Field(default_factory=dict)
    words: tuple[str, ...] = ()


def test_a_slice_holds_what_differs_from_the_defaults():
    assert slice_of(Outer()) == {}
    assert slice_of(Outer(inner=Inner(name="x", rate=2), many={"a": Inner(name="y")}, words=("b",))) == {
        "inner": {"rate": 2.0, "name": "x"}, "many": {"a": {"name": "y"}}, "words": ["b"],
    }  # fmt: skip
    assert slice_of(Outer(words=("b",)), exclude={"words"}) == {}


@pytest.mark.parametrize("model", [TrainSpec(lr=0.5), SampleSpec(), ShapesData(generate="shapes", shapes=("circle",))])
def test_a_field_that_comes_later_renames_nothing_until_it_is_used(model: Strict):
    kind = type(model)
    later = create_model(kind.__name__, __base__=kind, brand_new=(int, 3))
    assert slice_of(later(**model.model_dump())) == slice_of(model)
    assert slice_of(later(**model.model_dump(), brand_new=4)) == {**slice_of(model), "brand_new": 4}


def test_what_was_always_written_still_is():
    assert slice_of(TrainSpec())["lr"] == 1e-3
    assert "schedule" not in slice_of(SampleSpec(), later={"schedule"})
    assert slice_of(SampleSpec(schedule="karras"), later={"schedule"})["schedule"] == "karras"


def test_the_tables_name_fields_that_there_are():
    for table in (IN_FULL, NEVER):
        for name, fields in table.items():
            assert fields <= getattr(models_of, name).model_fields.keys(), name


@pytest.mark.parametrize(("name", "preset"), [("before", "full"), ("options", None)])
def test_a_study_keeps_the_hash_and_the_questions_that_an_earlier_version_wrote_down(name: str, preset: str | None, tmp_path: Path):
    with zipfile.ZipFile(io.BytesIO(BEFORE.read_bytes())) as lab:
        (tmp_path / f"{name}.yaml").write_bytes(lab.read(f"{name}.yaml"))
        record = json.loads(lab.read(f"lab/studies/{name}/ledger.jsonl").decode().splitlines()[0])
    loaded = load_study(tmp_path / f"{name}.yaml", preset)
    assert loaded.sha256 == record["study_sha256"]
    assert sorted(set(loaded.questions.values())) == record["questions"]


def test_an_interval_of_guidance_is_in_a_slice_only_where_it_is_not_all_of_the_steps():
    """So pictures that were drawn before there was the setting are found, and petri's known means still hold."""
    usual = SampleSpec()
    assert "guidance_interval" not in slice_of(usual)
    assert slice_of(SampleSpec(guidance_interval=(0, 0.75)))["guidance_interval"] == [0.0, 0.75]
    assert "guidance_interval" not in drawing_of(usual)
    assert drawing_of(SampleSpec(guidance_interval=(0, 0.75)))["guidance_interval"] == [0.0, 0.75]

"""An arm with a seed of its own: the same recipe, other trainings; all others share their streams as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.spec import AdapterSource
from loralab.spec.load import load_study, train_spec_of
from loralab.store import Ref
from loralab.study import keys
from loralab.study.facts import BaseFacts
from loralab.study.plan import differences
from loralab.train.streams import init_seed, stream_of

STUDY = """\
study: twice
data: {grey: {generate: shapes, shapes: [circle], fill: grey, background: white}}
train: {rank: 2, steps: 4, replicates: 3}
arms:
  one: {data: grey, captions: thing}
  two: {data: grey, captions: thing}
  own: {data: grey, captions: thing, seed: 5, train: {lr: 2e-3}}
  again: {data: grey, captions: thing, seed: 6, train: {lr: 2e-3}}
experiments:
  e: {question: q, claims: [{say: s, measure: change, cell: one @ "thing", versus: own @ "thing", expect: no change, margin_absolute: 1}]}
"""


def test_a_seed_makes_other_trainings_of_the_same_recipe(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY, encoding="utf-8")
    spec = load_study(tmp_path / "s.yaml").spec
    base = BaseFacts("petri", "sd1", "0" * 64, 64, 8, "cpu", "", None, (), ())

    def ref(arm: str) -> Ref:
        return keys.adapter_ref(base, AdapterSource(arm, 0), train_spec_of(spec, spec.arms[arm]), Ref("data", "d"), spec)

    assert ref("one") == ref("two")
    assert len({ref(arm) for arm in spec.arms}) == 3
    assert differences(spec, "one", "two") == []
    assert differences(spec, "own", "again") == ["train.seed"]


def test_streams_are_shared_by_arms_without_a_seed() -> None:
    assert [stream_of(replicate, None) for replicate in range(3)] == [0, 1, 2]
    own = {stream_of(replicate, seed) for replicate in range(3) for seed in (5, 6)}
    assert len(own | {0, 1, 2}) == 9
    assert len({init_seed(3, stream) for stream in own | {0, 1, 2}}) == 9


@pytest.mark.parametrize("arm", ["{data: grey, captions: thing, seed: 5, adapters: x.safetensors}", "{stack: [{arm: one}], seed: 5}"])
def test_loras_that_exist_already_have_no_seed(tmp_path: Path, arm: str) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.replace("  two: {data: grey, captions: thing}", f"  two: {arm}"), encoding="utf-8")
    with pytest.raises(LabError, match="`seed` is for an arm that is trained here"):
        load_study(tmp_path / "s.yaml")

"""A study's result comes back from its lab as it was, whatever the preset filled in, and without the study's own folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loralab.measure import Card
from loralab.spec import BASE, AdapterSource, LoadSpec, load_study
from loralab.spec.load import held_as
from loralab.store import Ref
from loralab.study.facts import BaseFacts
from loralab.study.plan import Sizes, make_plan
from loralab.study.result import StudyResult, load_result, save_result, set_notes

ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"
FACTS = BaseFacts("petri", "sd1", "f" * 64, 64, 16, "cpu", "v", "e", ("monster",), ("chroma",))
CARD = Card("chroma", 1, 64, 10, 0.1, 0.2, 0.0, 1.0, True, "", {"size": {"small": 0.5}})


@pytest.mark.parametrize("preset", ["smoke", "quick", "full"])
def test_what_was_saved_is_what_is_loaded(preset: str, tmp_path: Path):
    loaded = held_as(load_study(ARTICLE, preset), None, "bf16")
    plan = make_plan(loaded.spec)
    result = StudyResult(
        tmp_path / "lab", loaded, Sizes(stack=8, processes=2), {BASE: FACTS}, {"monster": Ref("data", "d")},
        {AdapterSource("monster", 0): Ref("adapters", "a"), AdapterSource("hot", 1, 8): Ref("adapters", "b")},
        {block: Ref("images", str(index)) for index, block in enumerate(plan.blocks)}, {AdapterSource("hot", 1): "not finite"},
        {AdapterSource("monster", 0): True}, {AdapterSource("monster", 0): 3.5}, {BASE: {"chroma": CARD}},
        {("monster", "chroma"): 12.5, ("hot", "chroma"): None}, {"monster": Ref("data", "r")},
    )  # fmt: skip
    save_result(result)
    back = load_result(tmp_path / "lab", "article")
    for name in (
        "sizes",
        "bases",
        "datasets",
        "adapters",
        "images",
        "failures",
        "same_at_zero",
        "moved_at_one",
        "cards",
        "training",
        "regularisation",
    ):
        assert getattr(back, name) == getattr(result, name), name
    assert back.loaded.sha256 == loaded.sha256
    assert back.spec == loaded.spec
    assert back.spec.load == LoadSpec(precision="bf16")
    assert back.loaded.questions == loaded.questions
    assert list(back.plan.blocks) == list(plan.blocks)


def test_notes_tell_of_both_of_an_arms_sets(tmp_path: Path):
    loaded, refs = load_study(ARTICLE, "smoke"), {"own": Ref("data", "o"), "others": Ref("data", "r")}
    for ref, notes in ((refs["own"], []), (refs["others"], ["skipped: hidden files: .a"])):
        folder = tmp_path / "store" / ref.kind / ref.key
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"notes": notes}), encoding="utf-8")
    result = StudyResult(
        tmp_path, loaded, Sizes(), {BASE: FACTS}, {"monster": refs["own"]}, {}, {}, {}, {}, {}, {}, {}, {"monster": refs["others"]}
    )  # fmt: skip
    assert set_notes(result, "monster") == ["regularisation pictures of monster: skipped: hidden files: .a"]

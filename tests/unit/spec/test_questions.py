"""What was asked before the first run: fingerprints, labels, and how often a question was put."""

from pathlib import Path

import pytest

from loralab.spec import Cell, ClaimSpec, load_study
from loralab.spec.questions import (
    fingerprints,
    is_exploratory,
    ordinal,
    planned_fingerprints,
    question_fingerprint,
    run_sentence,
    version_of,
)

ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"


def started(study: str = "a", base: str = "b", **more: object) -> dict[str, object]:
    return {"event": "started", "study_sha256": study, "base_sha256": base, "verdicts": True, "questions": ["q1", "q2"]} | more


def test_questions_of_the_first_run_with_verdicts_are_the_planned_ones():
    smoke = started(verdicts=False, questions=None)
    records = [smoke, started(questions=["q1", "q2"]), started("a2", questions=["q1", "q2", "q3"])]
    assert planned_fingerprints(records) == {"q1", "q2"}
    assert [is_exploratory(q, records) for q in ("q1", "q3")] == [False, True]
    assert not is_exploratory("q9", [smoke])
    assert not is_exploratory("q9", [{"event": "started", "study_sha256": "a", "base_sha256": "b"}])  # from before questions were noted


def test_wording_may_be_corrected_and_what_is_asked_may_not():
    claim = ClaimSpec(say="grey is learned", measure="chroma", cell='grey @ "myshape"', expect="lower")
    same = question_fingerprint(claim.model_copy(update={"say": "grey sticks", "article": "learned"}))
    assert same == question_fingerprint(claim)
    for change in ({"expect": "higher"}, {"margin": 0.1}, {"measure": "grey_share"}, {"cell": Cell("grey", "cat")}):
        assert question_fingerprint(claim.model_copy(update=change)) != same


def test_quick_and_full_ask_the_same_questions():
    quick, full = (load_study(ARTICLE, preset) for preset in ("quick", "full"))
    assert quick.questions == full.questions == fingerprints(load_study(ARTICLE).spec) | quick.questions
    assert len(quick.questions) == 24 + 2  # claims and curves, also the one that quick does not draw
    assert "null-primary" in full.spec.arms
    assert "null-primary" not in quick.spec.arms


def test_going_on_is_no_new_run_and_another_budget_or_base_is():
    records = [started(verdicts=False), started("a"), {"event": "finished"}, started("a"), started("c"), started("c", "other base")]
    assert version_of(records, "a", "b") == 1
    assert version_of(records, "c", "b") == 2
    assert version_of(records, "c", "other base") == 3
    assert version_of(records, "new", "b") == 4
    assert run_sentence(records, "a", "b") == "first version of this study"
    assert run_sentence(records, "c", "other base").startswith("third version of this study: ")


@pytest.mark.parametrize(("n", "word"), [(1, "first"), (3, "third"), (4, "4th"), (11, "11th"), (21, "21st"), (22, "22nd"), (113, "113th")])
def test_ordinals(n, word):
    assert ordinal(n) == word

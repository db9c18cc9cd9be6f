"""The plain answer reads well for every combination of verdicts, and says each claim exactly once."""

from __future__ import annotations

from itertools import product

import pytest
from factory import make_verdict

from loralab.infer.verdict import Verdict
from loralab.report.sentences import NO_CLAIMS, ONLY_AFTERTHOUGHTS, answer, clause, joined

RULINGS = ("supported", "contradicted", "inconclusive", "not_measurable")
FINDING = {"supported": "lower", "contradicted": "no change", "inconclusive": "unclear", "not_measurable": None}


def ruled(say: str, ruling: str, **changes: object) -> Verdict:
    return make_verdict(None, None, say=say, verdict=ruling, **{"finding": FINDING[ruling], **changes})


def test_known_sentences() -> None:
    assert answer([ruled("grey is learned", "supported")], "petri") == "Here, on petri: yes, grey is learned."
    told = answer([ruled("grey is learned", "supported"), ruled("the circle is learned", "inconclusive"),
                   ruled("the white background is not learned", "contradicted", finding="higher")], "petri")  # fmt: skip
    assert told == (
        "Here, on petri: yes, grey is learned; no, it is not so that the white background is not learned (it came out higher); "
        "can’t tell yet whether the circle is learned."
    )
    assert answer([ruled("a dog barks", "contradicted"), ruled("edges do not blur", "contradicted")], "petri") == (
        "Here, on petri: no, it is not so that a dog barks (any change is too small to count), "
        "nor that edges do not blur (any change is too small to count)."
    )
    assert answer([ruled("a", "not_measurable"), ruled("b", "not_measurable")], "x") == "Here, on x: not measured: whether a, or whether b."


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_combination_says_each_claim_once_under_its_verdict(n: int) -> None:
    starts = {
        "supported": "yes,",
        "contradicted": "no,",
        "inconclusive": "can’t tell yet whether",
        "not_measurable": "not measured: whether",
    }
    for combination in product(RULINGS, repeat=n):
        sentence = answer([ruled(f"claim{i} holds", ruling) for i, ruling in enumerate(combination)], "petri")
        assert sentence.startswith("Here, on petri: ")
        assert sentence.endswith(".")
        assert sentence.count(".") == 1
        parts = sentence.removeprefix("Here, on petri: ").split("; ")
        assert len(parts) == len(set(combination))
        for i, ruling in enumerate(combination):
            home = [part for part in parts if f"claim{i} holds" in part]
            assert len(home) == 1
            assert home[0].startswith(starts[ruling])
            assert sentence.count(f"claim{i} holds") == 1


def test_nothing_and_afterthoughts() -> None:
    assert answer([], "petri") == NO_CLAIMS
    assert answer([ruled("a", "supported", exploratory=True)], "petri") == ONLY_AFTERTHOUGHTS
    assert "later idea" not in answer([ruled("a", "supported"), ruled("later idea", "supported", exploratory=True)], "petri")


def test_a_claims_own_stop_and_line_breaks_are_taken_off() -> None:
    assert clause(" grey\n is learned. ") == "grey is learned"


def test_joined() -> None:
    assert [joined(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b, and c"]

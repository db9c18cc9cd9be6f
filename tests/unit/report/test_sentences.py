"""The plain answer reads well for every combination of verdicts, and says each claim exactly once."""

from __future__ import annotations

from itertools import product

import pytest
from factory import make_verdict

from loralab.infer.verdict import Verdict
from loralab.report.sentences import NO_CLAIMS, ONLY_AFTERTHOUGHTS, answer, clause, joined

RULINGS = ("supported", "leaning", "contradicted", "open", "not_measurable")
FINDING = {
    "supported": "lower", "leaning": "some lower", "contradicted": "no change", "open": "open", "not_measurable": None,
}  # fmt: skip


def ruled(say: str, ruling: str, **changes: object) -> Verdict:
    return make_verdict(None, None, say=say, verdict=ruling, **{"finding": FINDING[ruling], **changes})


def test_known_answers() -> None:
    yes = ruled("grey is learned", "supported", found="lower by 32 to 48 C*")
    assert answer([yes], "petri") == "On petri, yes: grey is learned (greyer, by 32 to 48 C*)."
    told = answer([yes, ruled("the circle is learned", "open"),
                   ruled("the white background is not learned", "contradicted", measure="background_from_white",
                         found="lower by 18 to 46 deltaE")], "petri")  # fmt: skip
    assert told == (
        "On petri, 1 of 3 holds: grey is learned (greyer, by 32 to 48 C*). Not so: “the white background is not learned” (nearer to a "
        "white background, by 18 to 46 deltaE). It can’t be told yet whether the circle is learned."
    )
    part = ruled(
        "the dark outline is learned",
        "leaning",
        measure="outline_dark",
        found="higher, size not settled (18 to 58 points; 20 points counts)",
    )
    assert answer([part], "petri").startswith("On petri, in part: the dark outline is learned (higher, size not settled (18 to 58")
    assert (
        answer([ruled("a", "not_measurable"), ruled("b", "not_measurable")], "x")
        == "On x, it could not be measured whether a, or whether b."
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_combination_says_each_claim_once_under_its_verdict(n: int) -> None:
    starts = {
        "supported": ("yes:", "of"),
        "leaning": ("in part:",),
        "contradicted": ("not so:", "no, not so:"),
        "open": ("it can’t be told yet whether",),
        "not_measurable": ("it could not be measured whether",),
    }
    for combination in product(RULINGS, repeat=n):
        told = answer([ruled(f"claim{i} holds", ruling) for i, ruling in enumerate(combination)], "petri")
        assert told.startswith("On petri, ")
        assert told.endswith(".")
        parts = told.removeprefix("On petri, ").removesuffix(".").split(". ")
        assert len(parts) == len(set(combination))
        for i, ruling in enumerate(combination):
            (home,) = [part for part in parts if f"claim{i} holds" in part]
            assert any(start in home.lower() for start in starts[ruling])
            assert told.count(f"claim{i} holds") == 1


def test_nothing_and_afterthoughts() -> None:
    assert answer([], "petri") == NO_CLAIMS
    assert answer([ruled("a", "supported", exploratory=True)], "petri") == ONLY_AFTERTHOUGHTS
    assert "later idea" not in answer([ruled("a", "supported"), ruled("later idea", "supported", exploratory=True)], "petri")


def test_a_claims_own_stop_and_line_breaks_are_taken_off() -> None:
    assert clause(" grey\n is learned. ") == "grey is learned"


def test_joined() -> None:
    assert [joined(list("abc"[:n])) for n in (1, 2, 3)] == ["a", "a and b", "a, b, and c"]

"""The plain answer reads well for every combination of verdicts, and says each claim exactly once."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from factory import make_contrast, make_verdict

from loralab.infer.verdict import Verdict
from loralab.infer.words import unit_notes
from loralab.report.sentences import NO_CLAIMS, ONLY_AFTERTHOUGHTS, answer, clause, joined, most_important, one_answer

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
        "On petri, 1 of 3 holds: grey is learned (greyer, by 32 to 48 C*). This does not hold: “the white background is not learned” "
        "(closer to a white background, by 18 to 46 deltaE). It is too early to tell whether the circle is learned."
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
        "contradicted": ("this does not hold:", "no, this does not hold:"),
        "open": ("it is too early to tell whether",),
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


def test_the_three_most_important_answers_are_decided_first_and_then_the_largest_against_what_counts() -> None:
    """Effects 9, 2, 5 and 30 against margins of 3, 1, 1 and 3: 3, 2, 5 and 10 times what counts; the last is open."""
    sized = [(9.0, 3.0, "supported"), (2.0, 1.0, "contradicted"), (5.0, 1.0, "supported"), (30.0, 3.0, "open")]
    verdicts = [
        replace(ruled(f"claim {i}", ruling), contrast=make_contrast(np.random.default_rng(i), effect, 0.0), margin=margin)
        for i, (effect, margin, ruling) in enumerate(sized)
    ]
    assert [verdict.say for verdict in most_important(verdicts)] == ["claim 2", "claim 0", "claim 1"]
    later = [ruled("afterthought", "supported", exploratory=True), verdicts[3]]
    assert [verdict.say for verdict in most_important(later)] == ["claim 3"]
    assert most_important(later[:1]) == later[:1]


@pytest.mark.parametrize(
    ("ruling", "said"),
    [
        ("supported", "Yes: grey is learned (greyer, by 32 to 48 C*)."),
        ("contradicted", "No, it does not hold that grey is learned (greyer, by 32 to 48 C*)."),
        ("leaning", "In part: grey is learned (greyer, by 32 to 48 C*)."),
        ("open", "Not settled yet: whether grey is learned (8 more trainings would probably settle it)."),
        ("not_measurable", "Not measurable: whether grey is learned (8 more trainings would probably settle it)."),
    ],
)
def test_an_answer_stands_alone(ruling: str, said: str) -> None:
    found = "lower by 32 to 48 C*"
    assert one_answer(ruled("grey is learned.", ruling, found=found, reason="so far; 8 more trainings would probably settle it")) == said


def test_units_are_explained_once_and_only_those_that_stand_there() -> None:
    assert [note.split()[0] for note in unit_notes(["deltaE", "px", "share", "deltaE"])] == ["shares", "deltaE"]

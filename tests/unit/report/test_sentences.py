"""The plain answer reads well for every combination of verdicts, and says each claim exactly once."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from factory import make_contrast, make_verdict

from loralab.infer.verdict import Contrast, Verdict
from loralab.infer.words import unit_notes
from loralab.report.sentences import (
    NO_CLAIMS,
    ONLY_AFTERTHOUGHTS,
    answer,
    answers_by_length,
    clause,
    in_short,
    joined,
    most_important,
    one_answer,
)

RULINGS = ("supported", "leaning", "small", "contradicted", "open", "not_measurable")
#: (interval, margin, expectation) that come to each outcome, around 32 to 48
CASES = {
    "supported": ((-48, -32), 10, "lower"), "leaning": ((-48, -4), 10, "lower"), "small": ((-9, -2), 10, "lower"),
    "contradicted": ((-9, 6), 10, "lower"), "open": ((-30, 20), 10, "lower"), "not_measurable": None,
}  # fmt: skip


def between(low: float, high: float) -> Contrast:
    return replace(make_contrast(np.random.default_rng(0), 1.0, 1.0), effect=(low + high) / 2, low=low, high=high)


def ruled(say: str, kind: str, **changes: object) -> Verdict:
    """Return a verdict of an outcome, its finding by the rule itself."""
    case = CASES[kind]
    verdict = make_verdict(None, None, say=say) if case is None else make_verdict(between(*case[0]), case[1], case[2], say=say)
    assert verdict.verdict == ("contradicted" if kind == "small" else kind)
    return replace(verdict, **changes)


def test_known_answers() -> None:
    yes, not_settled = ruled("grey is learned", "supported"), ruled("the circle is learned", "open")
    white = make_verdict(between(-46.2, -18.4), 12, "no change", say="the white background is not learned", measure="background_from_white")
    assert answer([yes], "petri") == "On petri, yes: grey is learned (greyer, by 32 to 48 C*)."
    assert answer([yes, not_settled, white], "petri") == (
        "On petri, grey is learned (greyer, by 32 to 48 C*). This does not hold: “the white background is not learned” (closer to a white "
        "background, by 18 to 46 deltaE). It is not settled whether the circle is learned."
    )
    assert answer([ruled("it is greyer", "leaning"), ruled("it is pale", "small")], "petri") == (
        "On petri, in part: it is greyer (greyer, by 4 to 48 C*; 10 C* would count). Yes, but by too little to count: “it is pale” "
        "(greyer, by 2 to 9 C*)."
    )
    assert answer([ruled(say, "supported") for say in "abc"], "x") == "On x, all three claims hold: a; b; and c."  # figures stand below
    assert answer([ruled(say, "contradicted") for say in "ab"], "x") == (
        "On x, no, neither claim holds: “a” (any change is too small to count) and “b” (any change is too small to count)."
    )
    unmeasured = [ruled("a", "not_measurable"), ruled("b", "not_measurable")]
    assert answer(unmeasured, "x") == "On x, it could not be measured whether a, or whether b."


def test_what_was_found_in_plain_words() -> None:
    said = {
        ("concept[monster]", "no change", -0.781, -0.318, 0.2): "less like “monster”, by 32 to 78 points",
        ("change", "lower", -0.785, 9.5, 2): "not changed less by an amount that counts",
        ("grid_present", "higher", 0.206, 0.483, 0.233): "more grids, by 21 to 48 points; 23 points would count",
        ("grid_beyond", "higher", -0.048, 0.07, 0.1): "any change is too small to count",
        ("grid_beyond", "higher", 0.02, 0.07, 0.1): "more finer grids, by 2 to 7 points",
        ("chroma", "higher", -30, 40, 10): "",
    }
    for (measure, expect, low, high, margin), words in said.items():
        assert in_short(make_verdict(between(low, high), margin, expect, measure=measure)) == words


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_combination_says_each_claim_once_under_its_verdict(n: int) -> None:
    starts = {
        "supported": ("yes:", "hold:", "claim"),
        "leaning": ("in part:",),
        "small": ("yes, but by too little to count:",),
        "contradicted": ("this does not hold:", "claim holds:", "claims holds:"),
        "open": ("it is not settled whether",),
        "not_measurable": ("it could not be measured whether",),
    }
    for combination in product(RULINGS, repeat=n):
        verdicts = [ruled(f"claim{i} holds", kind) for i, kind in enumerate(combination)]
        whole, plain, counted = answers_by_length(verdicts, "petri")
        for told in (whole, plain):
            assert told.startswith("On petri, ")
            assert told.endswith(".")
            parts = told.removeprefix("On petri, ").removesuffix(".").split(". ")
            assert len(parts) == len(set(combination))
            for i, kind in enumerate(combination):
                (home,) = [part for part in parts if f"claim{i} holds" in part]
                assert any(start in home.lower() for start in starts[kind])
                assert told.count(f"claim{i} holds") == 1
        assert "(" not in plain
        assert len(counted) < 190


def test_the_shortest_answer_counts() -> None:
    kinds = ("supported", "supported", "contradicted", "contradicted", "open")
    *_, counted = answers_by_length([ruled("x" * 300, kind) for kind in kinds], "petri")
    assert counted == "On petri, of five claims two hold, two do not hold, and one is not settled."


@pytest.mark.parametrize("kind", ["small"])
def test_a_no_beside_an_interval_in_the_claims_direction_says_too_small_to_count(kind: str) -> None:
    verdict = ruled("grey is learned", kind)
    assert verdict.verdict == "contradicted"
    assert verdict.contrast is not None
    assert verdict.contrast.high < 0
    for told in (*answers_by_length([verdict], "petri"), one_answer(verdict)):
        assert "too little to count" in told
        assert "not hold" not in told


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
    ("kind", "said"),
    [
        ("supported", "Yes: grey is learned (greyer, by 32 to 48 C*)."),
        ("contradicted", "No, it does not hold that grey is learned (any change is too small to count)."),
        ("leaning", "In part: grey is learned (greyer, by 4 to 48 C*; 10 C* would count)."),
        ("open", "Not settled yet: whether grey is learned (8 more trainings would probably settle it)."),
        ("not_measurable", "Not measurable: whether grey is learned (8 more trainings would probably settle it)."),
    ],
)
def test_an_answer_stands_alone(kind: str, said: str) -> None:
    assert one_answer(ruled("grey is learned.", kind, reason="so far; 8 more trainings would probably settle it")) == said


def test_units_are_explained_once_and_only_those_that_stand_there() -> None:
    assert [note.split()[0] for note in unit_notes(["deltaE", "px", "share", "deltaE"])] == ["shares", "deltaE"]

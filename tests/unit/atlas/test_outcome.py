"""A belief's verdict from its claims' verdicts, and its words: a "no" is one only when a second version has said so."""

from __future__ import annotations

from typing import Any

import pytest

from loralab.atlas.beliefs import all_beliefs
from loralab.atlas.outcome import against, assay_of, decided, overall, shipped_rows, study_name, tally, told
from loralab.atlas.showing import sentences

YES, NO, OPEN, SOME, NOT = "supported", "contradicted", "open", "leaning", "not_measurable"


def row(*rulings: str, twice: Any = None, assay: str = "", name: str = "01-x") -> dict[str, Any]:
    claims = [{"experiment": "belief", "verdict": ruling, "exploratory": False} for ruling in rulings]
    claims += [{"experiment": "assay", "verdict": assay, "exploratory": False}] if assay else []
    claims += [{"experiment": "belief", "verdict": NO, "exploratory": True}]  # an afterthought, which counts nowhere
    return {"name": name, "verdict": overall(rulings), "claims": claims, "twice": twice, "minutes": 1.0}


@pytest.mark.parametrize(
    ("rulings", "verdict", "counted"),
    [
        ((YES, YES), "yes", "2 of 2 hold"),
        ((NO,), "no", "0 of 1 hold, 1 does not"),
        ((YES, NO, OPEN), "in part", "1 of 3 holds, 1 does not, 1 open"),
        ((YES, OPEN), "in part", "1 of 2 holds, 1 open"),
        ((NO, NO, SOME), "in part", "0 of 3 hold, 2 do not, 1 open"),
        ((SOME, OPEN), "open", "0 of 2 hold, 2 open"),
        ((NOT, NOT), "not measurable", "0 of 2 hold, 2 not measurable"),
        ((NOT, OPEN), "open", "0 of 2 hold, 1 open, 1 not measurable"),
        ((), "open", "0 of 0 hold"),
    ],
)
def test_claims_make_a_verdict(rulings: tuple[str, ...], verdict: str, counted: str):
    assert overall(rulings) == verdict
    assert tally(rulings) == counted


def test_against_what_is_said_needs_a_second_version():
    assert told(row(YES)) == "yes"
    assert told(row(NO)) == "not confirmed yet (came out “no” once)"
    assert told(row(NO, twice=row(NO))) == "no, asked twice"
    assert told(row(NO, twice=row(YES))) == "not the same twice: first “no”, then “yes”"
    assert told(row(YES, twice=row(NO))) == "not the same twice: first “yes”, then “no”"
    assert told(row(YES, twice=row(YES))) == "yes"
    assert against(row(YES, NO))
    assert not against(row(YES, OPEN))


def test_where_nothing_was_learned_nothing_is_said():
    assert assay_of(row(YES)) == ""
    assert assay_of(row(YES, assay=YES)) == "passed"
    assert told(row(YES, assay=NO)) == "not shown: the LoRA learned too little for an answer"
    assert assay_of(row(YES, assay=OPEN)) == "open"


def test_how_many_false_ones_to_expect():
    rows = [row(YES), row(NO), row(OPEN), row(OPEN)]
    assert [decided(each) for each in rows] == [True, True, False, False]
    assert list(sentences(rows)) == [
        "Beliefs run: 4; decided, at least in part: 2.",
        "Each is judged with an error rate of 5 %: expect up to 0.2 of them to be wrong.",
    ]
    assert list(sentences([])) == []


def test_what_ships_names_beliefs_that_there_are():
    assert shipped_rows().keys() <= {belief.name for belief in all_beliefs()}


def test_versions_have_names_of_their_own_in_a_lab():
    belief = all_beliefs()[0]
    assert study_name(belief) == "atlas-01-unsaid"
    assert study_name(belief, twice=True) == "atlas-01-unsaid-twice"
    assert study_name(belief, "models/My.safetensors", twice=True) == "atlas-01-unsaid-twice-on-my"

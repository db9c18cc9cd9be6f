"""The table of words: every row, from interval to finding to verdict; mirror images; and a table that nothing falls through."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loralab.infer.findings import RULINGS, finding_of, is_small_yes, ruling_of, zone_of
from loralab.infer.verdict import Contrast, Finding, Ruling

MIRROR = {
    "higher": "lower", "some higher": "some lower", "not higher": "not lower", "no drop": "no rise", "no change": "no change",
    "open": "open",
}  # fmt: skip
MIRROR |= {other: one for one, other in MIRROR.items()}


def interval(low: float, high: float, wider: float = 0.0) -> Contrast:
    """An interval, and the study's, which is wider by ``wider`` on both sides."""
    sure = {"sure_low": low - wider, "sure_high": high + wider, "sure_level": 0.99}
    return Contrast((low + high) / 2, low, high, 0.95, 8, 48, None, (low, high), **sure)


@pytest.mark.parametrize(
    ("low", "high", "zone"),
    [
        (1.01, 3, "higher"),
        (1.0, 3, "some higher"),  # touching the margin is not beyond it
        (-3, -1.01, "lower"),
        (-1.0, 1.0, "no change"),  # inside, borders included
        (-1.0, 1.01, "open"),
        (0.2, 0.9, "no change"),  # differs from 0, but by less than counts
        (0.2, 1.9, "some higher"),
        (-3, 3, "open"),
    ],
)
def test_what_an_interval_shows(low, high, zone):
    assert zone_of(interval(low, high), 1.0) == zone


#: (interval, expectation) -> (finding, verdict), the margin being 1; the design's table, row by row
ROWS = [
    ((2, 4), "higher", "higher", "supported"),
    ((2, 4), "lower", "higher", "contradicted"),
    ((2, 4), "no change", "higher", "contradicted"),
    ((0.2, 4), "higher", "some higher", "leaning"),
    ((0.2, 4), "lower", "some higher", "contradicted"),
    ((0.2, 4), "no change", "some higher", "open"),
    ((-0.5, 0.5), "higher", "no change", "contradicted"),
    ((-0.5, 0.5), "no change", "no change", "supported"),
    ((-4, 0.5), "higher", "not higher", "contradicted"),
    ((-4, 0.5), "lower", "no rise", "open"),
    ((-4, 0.5), "no change", "no rise", "open"),
    ((-0.5, 4), "higher", "no drop", "open"),
    ((-0.5, 4), "lower", "not lower", "contradicted"),
    ((-4, 4), "higher", "open", "open"),
]


@pytest.mark.parametrize(("ends", "expect", "finding", "ruling"), ROWS)
def test_the_table(ends, expect, finding, ruling):
    found = finding_of(interval(*ends), 1.0, expect)
    assert (found, ruling_of(found, expect)) == (finding, ruling)


def test_a_direction_waits_for_the_study_and_its_controls():
    assert finding_of(interval(0.2, 4, wider=0.3), 1.0, "higher") == "no drop"
    assert finding_of(interval(0.2, 4), 1.0, "higher", controls=False, controls_surely=False) == "no drop"
    assert finding_of(interval(2, 4), 1.0, "higher", controls=False, controls_surely=False) == "no drop"
    assert finding_of(interval(2, 4), 1.0, "lower", controls=False, controls_surely=False) == "not lower"  # what is excluded stays so
    assert finding_of(interval(-0.5, 0.5), 1.0, "higher", controls=False, controls_surely=False) == "no change"


def test_yes_but_too_small_to_count():
    assert is_small_yes(interval(0.1, 0.5), "higher")
    assert is_small_yes(interval(-0.5, -0.1), "lower")
    assert not is_small_yes(interval(0.1, 0.5), "lower")
    assert not is_small_yes(interval(0.1, 0.5), "no change")
    assert not is_small_yes(interval(-0.1, 0.5), "higher")


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(0, 2), st.sampled_from(["higher", "lower", "no change"]), st.booleans())
def test_mirror_images(low, width, wider, expect, controls):
    ours, theirs = interval(low, low + width, wider), interval(-low - width, -low, wider)
    other = {"higher": "lower", "lower": "higher"}.get(expect, expect)
    given_controls = {"controls": controls, "controls_surely": controls}
    found, mirrored = finding_of(ours, 1.0, expect, **given_controls), finding_of(theirs, 1.0, other, **given_controls)
    assert mirrored == MIRROR[found]
    assert ruling_of(mirrored, other) == ruling_of(found, expect)


@given(st.floats(-5, 5), st.floats(0.01, 5), st.sampled_from(["higher", "lower", "no change"]))
def test_every_interval_has_a_finding_and_a_verdict(low, width, expect):
    found = finding_of(interval(low, low + width), 1.0, expect)
    assert found in get_args(Finding)
    assert ruling_of(found, expect) in get_args(Ruling)


def test_every_named_finding_exists():
    assert {finding for row in RULINGS.values() for finding in row} <= set(get_args(Finding))
    assert {ruling for row in RULINGS.values() for ruling in row.values()} <= set(get_args(Ruling))

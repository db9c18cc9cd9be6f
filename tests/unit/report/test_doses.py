"""Figures of a curve: places of marks by hand, what is left out where it is missing, and the page that shows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factory import make_input, make_verdict

from loralab.infer.estimate import estimate_contrast
from loralab.infer.verdict import DoseCurve, DosePoint, HalfDose
from loralab.report import ControlRow
from loralab.report.doses import HEIGHT, LEFT, WIDTH, damage_figure, dose_figure
from loralab.report.page import render_report


def contrast(*runs: float):
    return estimate_contrast(np.array(runs), n_images=12, level=0.95, floor=0.01)


def curve_verdict(damage: bool = True, half: bool = True):
    """Return a verdict on a curve at strengths .5 and 1: effects 2 and 8, damage 1 and 3, half-effect dose 2/3."""
    points = (
        DosePoint(0.5, contrast(1.9, 2.0, 2.1), contrast(0.9, 1, 1.1) if damage else None),
        DosePoint(1.0, contrast(7.8, 8.0, 8.2), contrast(2.9, 3, 3.1) if damage else None),
    )
    found = HalfDose(2 / 3, 0.6, 0.7, 0.95) if half else None
    curve = DoseCurve(
        "strength", 1.0, points, found, "half of the effect of strength 1 is reached at strength 0.667", (), "change", ("cat",)
    )
    return replace(make_verdict(contrast(5.9, 6, 6.1), 1.0, "higher", measure="chroma", gap=10.0), curve=curve)


def test_marks_stand_where_their_numbers_are():
    figure = dose_figure(curve_verdict())
    low, high = figure.marks
    zero = figure.zero
    # equal steps on linear axes: twice the dose is twice as far from dose 0, four times the effect four times as high
    start = float(figure.line.split(" ")[0].split(",")[0])
    assert start == LEFT
    assert high.x - start == pytest.approx(2 * (low.x - start), abs=0.3)
    assert zero - high.y == pytest.approx(4 * (zero - low.y), abs=0.6)
    assert high.high < high.y < high.low < zero  # SVG counts downwards
    assert figure.training < high.y  # the gap of 10 lies above the effect of 8
    assert figure.half[1] - start == pytest.approx((high.x - start) * 2 / 3, abs=0.3)
    assert len(figure.runs) == 3
    for mark in figure.marks:
        assert 0 <= mark.x <= WIDTH
        assert 0 <= mark.high <= mark.low <= HEIGHT


def test_learned_against_damaged_has_a_mark_a_dose():
    figure = damage_figure(curve_verdict())
    low, high = figure.marks
    start = float(figure.line.split(" ")[0].split(",")[0])
    assert high.x - start == pytest.approx(3 * (low.x - start), abs=0.6)  # damage 3 against 1
    assert low.left < low.x < low.right
    assert [mark.label for mark in figure.marks] == ["strength 0.5", "strength 1"]
    assert damage_figure(curve_verdict(damage=False)) is None
    assert dose_figure(curve_verdict(half=False)).half is None
    assert dose_figure(replace(curve_verdict(), curve=None)) is None


def test_the_page_shows_curves_controls_and_which_run_it_is():
    given = make_input(noisy=False)
    section = replace(given.experiments[0], verdicts=(curve_verdict(), *given.experiments[0].verdicts))
    controls = (
        ControlRow("strength 0", "must give the base's picture", "for 2 of 2 LoRAs <b>", True),
        ControlRow("window", "?", "too narrow", False),
    )
    said = replace(given.provenance, run_says="third version of this study")
    page = render_report(replace(given, experiments=(section, *given.experiments[1:]), controls=controls, provenance=said))
    for words in (
        "Effect over strength",
        "Learned against damaged",
        "third version of this study",
        "for 2 of 2 LoRAs &lt;b&gt;",
        "not passed",
    ):
        assert words in page
    assert page.count('class="one-run"') == 3
    assert "<script" not in page
    plain = render_report(given)
    assert "Effect over" not in plain
    assert 'id="controls"' not in plain

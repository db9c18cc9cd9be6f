"""The page of a check: true axes, names where there is room, and a page that holds what it was given."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import loralab.report
from loralab.report.check_charts import HEIGHT, WIDTH, draw_chart, draw_trails
from loralab.report.check_input import Chart, CheckInput, Curve, Differences, FileRow, PictureRow, Point, Trail, TrailPoint
from loralab.report.check_page import render_check
from loralab.report.input import Picture


def point(label: str, value: float, at: float | None = None) -> Point:
    return Point(label, value, value - 0.1, value + 0.1, at)


def chart(*points: Point, numeric: bool = True) -> Chart:
    return Chart("File by file", "0 = as the base draws", "steps", (Curve("effect", "effect", points),), numeric)


def picture(side: int) -> Picture:
    out = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(out, "PNG")
    return Picture(out.getvalue(), "seed 0", "seed 0")


def page_input(*, side: int = 64) -> CheckInput:
    """Return a page of two files side by side."""
    rows = tuple(FileRow(name, f"{name}.safetensors", "0" * 64, point(name, 0.5), None, point(name, 0.2), None, False, "") for name in "ab")
    trails = tuple(Trail(name, (TrailPoint(name, point(name, 0.5), point(name, 0.2), advised=name == "a"),)) for name in "ab")
    return CheckInput(
        title="a and b", headline="Use a.", sentences=("b <script> is weaker.",), notes=("._x was passed over",), effect_word="change",
        effect_says="0 to 1", files=rows, charts=(chart(point("a", 0.5), point("b", 0.4), numeric=False),), trails=trails,
        trails_say="best is top left", pictures=(PictureRow("", (0,), (("the base", (picture(side),)), ("a", (picture(side),)))),),
        training=(picture(side),), training_says="the first 1 of 9", limits=("two files only",), facts=(("base", "petri"),),
        differences=Differences(("a", "b"), (("learning rate", ("0.0001", "not told")),)),
    )  # fmt: skip


def test_steps_stand_on_a_true_axis_that_begins_at_the_base():
    drawn = draw_chart(chart(point("step 10", 0.1, 10), point("step 20", 0.2, 20), point("step 80", 0.3, 80)))
    xs = [mark.x for mark in drawn.lines[0][1]]
    assert (xs[2] - xs[1]) / (xs[1] - xs[0]) == pytest.approx(6, rel=0.01)
    assert drawn.across[0][1] == "0"


def test_the_last_file_of_unknown_steps_stands_behind_the_others_by_its_name():
    drawn = draw_chart(chart(point("step 10", 0.1, 10), point("step 20", 0.2, 20), point("the last", 0.3)))
    xs = [mark.x for mark in drawn.lines[0][1]]
    assert xs == sorted(xs)
    assert drawn.across[-1] == (pytest.approx(xs[2]), "the last")
    assert xs[2] < WIDTH


def test_an_endless_interval_does_not_flatten_the_others():
    wide = Point("step 10", 0.1, -40.0, 40.0, 10)
    drawn = draw_chart(chart(wide, point("step 20", 0.9, 20)))
    first, second = drawn.lines[0][1]
    assert first.y - second.y > 60
    assert 0 <= first.high < first.y < first.low <= HEIGHT


def test_long_names_side_by_side_are_shortened_on_the_axis_and_whole_in_the_marks():
    names = [f"a rather long name of a file {k}" for k in range(6)]
    drawn = draw_chart(chart(*(point(name, 0.1) for name in names), numeric=False))
    assert all(text.endswith("\u2026") for _, text in drawn.across)
    assert [mark.says.split(", ")[1].split(":")[0] for mark in drawn.lines[0][1]] == names


def test_names_that_would_cover_one_another_are_left_out_but_not_the_advised_one():
    same = [TrailPoint(name, point(name, 0.5), point(name, 0.2), advised=name == "c") for name in "abc"]
    drawn = draw_trails([Trail("x", tuple(same))], "t", "s")
    assert [mark.name for mark in drawn.lines[0][1]] == ["a", "", "c"]
    assert all(0 <= mark.y <= HEIGHT and 0 <= mark.x <= WIDTH for mark in drawn.lines[0][1])


def test_the_page_holds_what_it_was_given_and_no_script():
    page = render_check(page_input())
    for text in (
        "a and b",
        "Use a.",
        "&lt;script&gt; is weaker",
        "._x was passed over",
        "learning rate",
        "not told",
        "two files only",
        "no prompt",
    ):
        assert text in page
    assert "<script" not in page
    assert "unclear" in page


def test_pictures_of_large_bases_are_shown_larger_and_those_of_small_ones_as_they_are():
    assert 'class="small"' in render_check(page_input())
    assert 'class="large"' in render_check(page_input(side=512))
    assert 'class="small"' not in render_check(replace(page_input(side=512)))


def test_each_colour_of_the_check_page_means_one_thing():
    """Curves have colours of their own; the verdict's green is what is advised, and the line of a file's strengths is neutral."""
    css = (Path(loralab.report.__file__).parent / "check.css").read_text(encoding="utf-8")
    meaning = dict(re.findall(r"\.(c-\w+) { stroke: var\((--\w+)\)", css))
    assert meaning == {"c-effect": "--effect", "c-firing": "--firing", "c-damage": "--damage", "c-file": "--quiet"}
    legend = set(re.findall(r"\.b-(\w+) { background: var\(--(\w+)\)", css))
    assert legend == {(name, name) for name in ("effect", "firing", "damage")}
    assert re.findall(r"([^{}]*){[^{}]*var\(--yes\)", css) == [" .files .keep .mark-keep ", " .dotmark.advised "]
    assert not re.findall(r"var\(--(?:no|open|mark|half)\)", css)

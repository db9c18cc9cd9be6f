"""The page of calibration cards: escaped, closed to the network, and its figures derived by hand."""

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from loralab.engine.card_files import sheet_of
from loralab.measure import Card
from loralab.report.cards_page import CardSheet, render_cards, weak_levels

CARD = Card(
    "edge_sigma", 2, 64, 40, -0.1, 0.5, 0.05, 0.9, True, "typical error 0.5; it is also affected by fill (by 0.7)",
    {"blur": {"0": 0.1, "1": 0.2, "3": 0.9}}, {}, {"fill": 0.7, "size": 0.1},
)  # fmt: skip


def make_sheet() -> CardSheet:
    grey = np.full((1, 64, 64, 3), 128, np.uint8)
    return sheet_of(CARD, {"passes": grey, "failures": grey[:0]})


@pytest.fixture
def sheet() -> CardSheet:
    return make_sheet()


def test_limits_are_the_levels_that_are_clearly_worse():
    """Mean error (.1 + .2 + .9) / 3 = .4: only .9 exceeds twice that. Of shares a quarter wrong is the limit."""
    assert weak_levels({"0": 0.1, "1": 0.2, "3": 0.9}, share=False) == ["3"]
    assert weak_levels({"0.45": 0.3, "0.6": 0.25, "0.75": 0.0}, share=True) == ["0.45"]
    assert weak_levels({"0": 0.0, "1": 0.0}, share=False) == []


def test_two_single_pictures_are_told_apart_from_the_repeatability_limit_on(sheet: CardSheet):
    """1.96 * sqrt(2) * .5 = 1.386."""
    assert sheet.told_apart == pytest.approx(1.386, abs=0.001)
    assert replace(sheet, share=True).told_apart is None


def test_the_page_shows_the_matrix_the_limit_and_the_pictures_there_are(sheet: CardSheet):
    page = render_cards([sheet, replace(sheet, name="colour", moved_by={"blur": 0.2}, note="fine")], "petri", "ab" * 32, 64)
    assert "blur 3" in page
    assert re.search(r'<td class="moves">0\.7', page)
    assert page.count("read best") == 2
    assert "read worst" not in page
    assert page.count("<td>–</td>") == 3  # edge_sigma has no blur, colour neither fill nor size


def test_the_page_is_escaped_and_allows_its_own_style_only(sheet: CardSheet):
    page = render_cards([replace(sheet, note="<script>alert(1)</script>")], "<b>base</b>", "ab" * 32, 64)
    assert "<script" not in page
    assert "<b>base" not in page
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page

"""The Markdown summary: every claim stands there, nothing in it is markup of a stranger's, and the sheets are small pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from factory import make_input
from PIL import Image

from loralab.report.summary import plain, render_summary, write_summary


def test_every_claim_stands_in_the_summary_with_its_interval():
    report = make_input()
    text = render_summary(report)
    for section in report.experiments:
        assert plain(section.question) in text
        assert all(plain(verdict.say) in text for verdict in section.verdicts)
    assert text.count("\n| ") >= sum(len(section.verdicts) for section in report.experiments)


def test_claims_are_sorted_by_what_came_out():
    table = [line.split(" | ") for line in render_summary(make_input()).splitlines() if line.startswith("| ") and "| claim |" not in line]
    assert [cells[2].split(" ")[0] for cells in table if len(cells) > 5][:5] == ["✓", "✗", "?", "?", "–"]


def test_a_claims_words_cannot_forge_a_table_or_a_link():
    assert plain("a | b\n| c | <b>`x`</b> [y](z)") == "a \\| b \\| c \\| \\<b\\>\\`x\\`\\</b\\> \\[y\\](z)"


def test_the_sheets_are_small_and_an_older_summary_is_replaced(tmp_path: Path):
    report = make_input()
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "stale.png").write_bytes(b"old")
    page = write_summary(report, tmp_path / "summary")
    sheets = sorted((tmp_path / "summary").glob("*.png"))
    assert [sheet.stem for sheet in sheets] == sorted(section.name for section in report.experiments if section.strips)
    for sheet in sheets:
        assert sheet.stat().st_size < 200_000
        with Image.open(sheet) as image:
            assert image.mode == "RGB"  # no palette: a picture is what was drawn
        assert f"({sheet.name})" in page.read_text(encoding="utf-8")


def test_without_verdicts_there_is_no_table():
    report = make_input()
    bare = dataclasses.replace(report, experiments=tuple(dataclasses.replace(section, verdicts=()) for section in report.experiments))
    assert "| claim |" not in render_summary(bare)

"""The article's page says what each look decided and when, whether the goals were reached, and what the earlier rule said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from loralab.infer.verdict import Verdict, verdict_from_json
from organism.article_page import BEFORE, Look, as_webp, section_of
from organism.results import copy_summary

OLD = {
    "quick": {"trainings": 64, "decided": 5, "questions": 25}, "full": {"trainings": 128, "decided": 18, "questions": 26, "minutes": 27.8},
    "claims": {"claim 0": ["yes", "yes"], "claim 1": ["", "no"]},
}  # fmt: skip


def verdict(index: int, ruling: str) -> Verdict:
    rows = json.loads((Path(__file__).parents[1] / "fixtures" / "verdict.json").read_text(encoding="utf-8"))
    return replace(verdict_from_json(rows), index=index, say=f"claim {index}", verdict=ruling)


def look(trainings: int, minutes: float, rulings: list[str]) -> Look:
    return Look(trainings, len(rulings), minutes, [verdict(index, ruling) for index, ruling in enumerate(rulings)])


def test_what_was_decided_and_when() -> None:
    first = ["supported"] * 15 + ["open"] * 8
    last = ["supported"] * 15 + ["contradicted"] * 3 + ["leaning"] + ["open"] * 4
    page = section_of([look(8, 4.5, first), look(16, 12.0, last)], OLD)
    assert "| 8 trainings | 23 | 4.5 | 15 of 23 | 0 | 8 | 0 |" in page
    assert "| 16 trainings | 23 | 12.0 | 18 of 23 | 1 | 4 | 0 |" in page
    assert "- Goal: at least 15 decided within 5 minutes. Reached." in page
    assert "- Goal: at least 20 decided within 15 minutes. Missed: 18." in page
    assert "- Goal: at most 3 open without a direction when it stops. Missed: 4." in page
    assert "| claim 0 | ✓ yes | 8 trainings, 4.5 minutes | yes, yes |" in page
    assert "| claim 1 | ✓ yes | 8 trainings, 4.5 minutes | not asked, no |" in page
    assert "| claim 16 | ✗ no | 16 trainings, 12.0 minutes |" in page
    assert "| claim 22 | ? can’t tell yet | – |" in page


def test_no_look_in_time_is_said() -> None:
    page = section_of([look(8, 7.4, ["supported"])], OLD, "Others worked beside it.")
    assert "within 5 minutes. Missed: 0, no look had ended by then." in page
    assert page.rstrip().endswith("Others worked beside it.")


def test_the_earlier_rules_verdicts_add_up() -> None:
    told = json.loads(BEFORE.read_text(encoding="utf-8"))
    for k, which in enumerate(("quick", "full")):
        assert sum(words[k] in ("yes", "no") for words in told["claims"].values()) == told[which]["decided"]
        assert sum(bool(words[k]) for words in told["claims"].values()) == told[which]["questions"]


def test_the_section_stands_before_the_first_question(tmp_path: Path) -> None:
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "summary.md").write_text("# s\n\nOf 2 claims.\n\n## one\n\n## two\n", encoding="utf-8")
    copy_summary(tmp_path / "summary", tmp_path / "article.md", "## when\n")
    assert (tmp_path / "article.md").read_text(encoding="utf-8") == "# s\n\nOf 2 claims.\n\n## when\n\n## one\n\n## two\n"


def test_pictures_become_smaller_and_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "article").mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8))
    image.save(tmp_path / "article" / "one.png")
    (tmp_path / "article.md").write_text("![one](article/one.png)\n", encoding="utf-8")
    as_webp(tmp_path / "article.md")
    assert (tmp_path / "article.md").read_text(encoding="utf-8") == "![one](article/one.webp)\n"
    assert [path.name for path in (tmp_path / "article").iterdir()] == ["one.webp"]
    with Image.open(tmp_path / "article" / "one.webp") as found:
        assert np.array_equal(np.asarray(found.convert("RGB")), np.asarray(image))

"""The page of an audit: nothing from a stranger's folder is taken for markup, nothing is loaded, and it stays small."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from loralab.auditing import Audit, FolderRow, PictureFacts, Remark, TagRow, write_audit
from loralab.auditing.page import render_audit
from loralab.auditing.run import default_page
from loralab.data import Trigger
from loralab.data.gathering import LeftOut
from loralab.errors import Problem

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=y>"


def make_audit(n: int = 3, remarks: bool = True) -> Audit:
    rng = np.random.default_rng(0)
    pictures = tuple(PictureFacts(f"{NASTY}{k}.png", NASTY, 800, 600, rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)) for k in range(n))
    remark = Remark("near-duplicates", f"2 of {n} pictures are nearly identical: {NASTY}.", 2, n, f"Keep {NASTY}.", NASTY, (0, 1))
    return Audit(
        name=NASTY, trigger=Trigger(NASTY, "unsure", NASTY, (NASTY,)), trigger_captions=n, trigger_first=n,
        remarks=(remark,) if remarks else (),
        tags=tuple(TagRow(f"{NASTY} {k}", 1, 1 / n) for k in range(70)), folders=(FolderRow(NASTY, n, 1, n, 1.0),), pictures=pictures,
        notes=(NASTY,), regularisation_pictures=2,
        problems=(Problem(NASTY, NASTY, NASTY, NASTY),), left_out=(LeftOut(NASTY, NASTY, Path(NASTY)),), mark="abc",
    )  # fmt: skip


def test_a_strangers_text_stays_text():
    page = render_audit(make_audit())
    assert "<script" not in page
    assert "onerror=y>" not in page
    assert page.count("&lt;script&gt;") > 10


def test_nothing_is_loaded_and_the_policy_allows_nothing():
    page = render_audit(make_audit())
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []


def test_a_silent_audit_says_so():
    page = render_audit(make_audit(remarks=False))
    assert "Nothing stands out" in page


def test_many_pictures_are_shown_in_part_so_that_the_page_stays_below_10_mb(tmp_path: Path):
    """Noise compresses worst: 1,200 such pictures would take about 12 MB."""
    page = write_audit(make_audit(420), tmp_path / "deep" / "audit.html")
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 10_000_000
    assert re.search(r"and \d+ more, left out", text)
    assert [file.name for file in page.parent.iterdir()] == ["audit.html"]


def test_data_sets_of_one_name_have_pages_of_their_own(tmp_path: Path):
    alice, bob = (replace(make_audit(), name="images", mark=mark) for mark in ("a" * 16, "b" * 16))
    first = write_audit(alice, default_page(alice, tmp_path))
    second = write_audit(bob, default_page(bob, tmp_path))
    assert (first.name, second.name) == ("images-audit.html", "images-audit-2.html")
    assert (default_page(alice, tmp_path), default_page(bob, tmp_path)) == (first, second)  # each finds its own again


def test_the_page_lists_problems_and_the_names_of_what_a_remark_is_about():
    audit = replace(make_audit(), problems=(Problem("an empty file (0 bytes)", "a picture", "delete it", "x/broken.png"),))
    page = render_audit(audit)
    for words in ("What prevents training", "x/broken.png", "an empty file (0 bytes)", "All 1 file"):
        assert words in page

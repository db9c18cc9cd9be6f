"""The audit finds every planted fault, with its counts, and says nothing about a set in which nothing is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loralab.auditing import Audit, Remark, audit_dataset

from .planted import CLEAN, save, save_clean, save_faulty


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return audit_dataset(save_faulty(tmp_path_factory.mktemp("faulty")), "zok")


def the(audit: Audit, kind: str) -> Remark:
    found = [remark for remark in audit.remarks if remark.kind == kind]
    assert len(found) == 1, [remark.kind for remark in audit.remarks]
    return found[0]


def test_nothing_is_said_about_a_clean_set(tmp_path: Path):
    audit = audit_dataset(save_clean(tmp_path), "zok")
    assert [remark.says for remark in audit.remarks] == []
    assert (audit.trigger_captions, audit.trigger_first) == (12, 12)


#: kind -> (found in, of)
PLANTED = {
    "trigger-not-first": (2, 13),
    "fused-tag": (13, 13),
    "no-caption": (2, 15),
    "same-captions": (2, 15),
    "shared-white-background": (15, 15),
    "shared-middle": (15, 15),
    "colour-not-there": (2, 15),
    "near-duplicates": (2, 15),
    "unequal-folders": (2, 15),
}


@pytest.mark.parametrize(("kind", "counts"), PLANTED.items())
def test_every_planted_fault_is_found_with_its_counts(faulty: Audit, kind: str, counts: tuple[int, int]):
    remark = the(faulty, kind)
    assert (remark.n, remark.of) == counts


def test_pictures_without_words_are_one_remark_and_a_caption_without_the_trigger_another(tmp_path: Path):
    inner = save_clean(tmp_path) / "3_zok"
    (inner / "00.txt").write_text("red circle, white background", encoding="utf-8")
    missing = the(audit_dataset(tmp_path, "zok"), "trigger-missing")
    assert (missing.n, missing.of, missing.pictures) == (1, 12, (0,))
    for name in ("01", "02"):
        (inner / f"{name}.txt").write_text("", encoding="utf-8")
    audit = audit_dataset(tmp_path, "zok")
    assert (the(audit, "trigger-missing").pictures, the(audit, "no-caption").pictures) == ((0,), (1, 2))


def test_spellings_are_listed_with_their_counts(faulty: Audit):
    assert "'flat art' (7) or 'flat_art' (4)" in the(faulty, "spellings").says


def test_repeats_make_a_tag_weigh_more_than_it_looks(faulty: Audit):
    """`starry` is in 2 of 15 pictures, but 40 of 53 showings."""
    heavy = "its tags come with it ('starry': 13% of the pictures, 75% of training)."
    assert the(faulty, "unequal-folders").says.endswith(heavy)  # one fact, one remark
    assert {row.folder: row.showings for row in faulty.folders} == {"1_zok": 13, "20_extra": 40}


def test_nothing_but_what_was_planted_is_found(faulty: Audit):
    assert {remark.kind for remark in faulty.remarks} <= {*PLANTED, "spellings"}


def test_every_remark_states_its_counts_and_its_rule_and_rests_on_two_pictures(faulty: Audit):
    for remark in faulty.remarks:
        assert remark.of >= remark.n >= 2
        assert len(remark.pictures) == remark.n
        assert remark.rule
        assert remark.do
        assert remark.says.endswith(".")


def test_the_sentence_about_the_background_is_plain(faulty: Audit):
    assert the(faulty, "shared-white-background").says == "All 15 pictures have a white background; no caption mentions it."


def test_json_names_files_and_holds_no_pixels(faulty: Audit):
    document = json.loads(json.dumps(faulty.to_json()))
    twins = next(remark for remark in document["remarks"] if remark["kind"] == "near-duplicates")
    assert twins["pictures"] == ["1_zok/03.png", "1_zok/12.jpg"]
    assert document["trigger"] == {
        "word": "zok", "guessed": False, "sure": "given", "from": "given", "others": [], "captions": 13, "first": 11,
    }  # fmt: skip


def test_the_trigger_is_guessed_and_that_is_said(tmp_path: Path):
    audit = audit_dataset(save_clean(tmp_path))
    assert audit.trigger is not None
    assert (audit.trigger.words, audit.trigger.sure) == ("zok", "likely")
    assert audit.trigger.source == "it is in 12 of the data set's 12 captions"


def test_a_trigger_that_the_options_name_is_stated(tmp_path: Path):
    save_clean(tmp_path)
    subset = '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "3_zok"\ncaption_prefix = "wow,"\n'
    (tmp_path / "sets.toml").write_text(subset, encoding="utf-8")
    trigger = audit_dataset(tmp_path / "sets.toml").trigger
    assert trigger is not None
    assert (trigger.words, trigger.sure, trigger.others) == ("wow", "unsure", ("zok",))


def test_a_single_picture_gives_no_remark(tmp_path: Path):
    inner = save_clean(tmp_path) / "3_zok"
    for file in inner.iterdir():
        if file.stem != "00":
            file.unlink()
    (inner / "00.txt").write_text("green thing", encoding="utf-8")
    assert audit_dataset(tmp_path, "zok").remarks == ()


def test_folders_of_one_name_are_two_folders_and_two_names_in_what_is_said(tmp_path: Path):
    for who, first in (("alice", 0), ("bob", 6)):
        for number, drawn in enumerate(CLEAN[first : first + 6]):
            save(drawn, tmp_path / who / "images" / f"{number}.png")
    subset = '[[datasets.subsets]]\nimage_dir = "{0}/images"\nnum_repeats = {1}\n'
    (tmp_path / "sets.toml").write_text("[[datasets]]\n" + subset.format("alice", 1) + subset.format("bob", 20), encoding="utf-8")
    audit = audit_dataset(tmp_path / "sets.toml")
    assert [(row.folder, row.pictures, row.repeats, row.showings) for row in audit.folders] == [
        ("alice/images", 6, 1, 6),
        ("bob/images", 6, 20, 120),
    ]
    unequal = next(remark for remark in audit.to_json()["remarks"] if remark["kind"] == "unequal-folders")
    assert unequal["pictures"] == [f"bob/images/{number}.png" for number in range(6)]

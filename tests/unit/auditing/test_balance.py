"""Few among many: a minority of one or two in ten is the balance question, told once with all that sets it apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loralab.auditing import Audit, audit_dataset

from .planted import Drawn, save, save_clean

PLACES = ((0.35, 0.4), (0.6, 0.4), (0.5, 0.62), (0.4, 0.6), (0.62, 0.6), (0.5, 0.4), (0.38, 0.5), (0.6, 0.5), (0.45, 0.35), (0.65, 0.35))


def drawn(number: int, shape: str, fill: str, caption: str = "", background: str = "white") -> Drawn:
    return Drawn(shape, fill, background, PLACES[number % 10], 0.3 + 0.03 * (number % 10), caption or f"zok, {fill} {shape}")


def save_nine_to_one(root: Path, minority: int = 1, folders: bool = False) -> Path:
    """Return a set of ten: red circles, and one or two blue squares; with ``folders`` they lie in one of their own."""
    for number in range(10):
        few = number >= 10 - minority
        place = root / ("10_square" if folders and few else "10_zok")
        save(drawn(number, "square" if few else "circle", "blue" if few else "red"), place / f"{number:02d}.png")
    return root


def minority(audit: Audit) -> dict[str, object]:
    found = [remark for remark in audit.to_json()["remarks"] if remark["kind"] == "minority"]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_in_ten_are_the_balance_question(tmp_path: Path, n: int):
    audit = audit_dataset(save_nine_to_one(tmp_path, n))
    found = minority(audit)
    assert found["says"] == (
        f"{10 - n} of 10 pictures are of one kind and {n} of another: subject red against blue; outline circle against square; "
        "caption \u201cred circle\u201d against \u201cblue square\u201d."
    )
    assert found["pictures"] == [f"10_zok/{number:02d}.png" for number in range(10 - n, 10)]
    assert f"{n * 10}% of the training" in str(found["do"])
    assert f"about {(10 - n) // n} times as many" in str(found["do"])


def test_the_fact_is_told_once(tmp_path: Path):
    """Nine of ten red and round, which captions leave unsaid; a folder of their own: neither is told again."""
    root = save_nine_to_one(tmp_path, folders=True)
    for text in root.rglob("*.txt"):
        text.write_text("zok", encoding="utf-8")
    kinds = [remark.kind for remark in audit_dataset(root).remarks]
    assert kinds.count("minority") == 1
    assert not {"unequal-folders", "shared-red-subject", "shared-circle-outline"} & set(kinds)
    assert "folder 10_zok against 10_square" in str(minority(audit_dataset(root))["says"])


def test_a_kind_that_cannot_be_told_of_one_of_them_is_the_same_fact(tmp_path: Path):
    """The subject of the last picture leaves the frame: its colour is not read, its caption is."""
    root = save_nine_to_one(tmp_path, 2)
    save(Drawn("square", "blue", "white", (0.95, 0.05), 0.9, "zok, blue square"), root / "10_zok" / "09.png")
    found = minority(audit_dataset(root))
    assert (found["n"], "subject red against blue" in str(found["says"])) == (2, True)


def test_repeats_that_even_the_kinds_out_end_the_question(tmp_path: Path):
    root = save_nine_to_one(tmp_path, folders=True)
    (root / "10_square").rename(root / "90_square")
    assert [remark.kind for remark in audit_dataset(root).remarks if remark.kind == "minority"] == []


@pytest.mark.parametrize("n", [3, 5])
def test_three_in_ten_are_no_minority(tmp_path: Path, n: int):
    assert [remark.kind for remark in audit_dataset(save_nine_to_one(tmp_path, n)).remarks if remark.kind == "minority"] == []


def test_nothing_is_said_where_every_picture_is_of_its_own_kind(tmp_path: Path):
    assert audit_dataset(save_clean(tmp_path)).remarks == ()


def test_four_pictures_have_no_minority(tmp_path: Path):
    for number in range(4):
        save(drawn(number, "circle", "red" if number else "blue"), tmp_path / f"{number}.png")
    assert not any(remark.kind == "minority" for remark in audit_dataset(tmp_path).remarks)


def test_a_caption_without_the_trigger_is_not_also_a_minority(tmp_path: Path):
    for number in range(10):
        save(drawn(number, "circle", "red", f"{'zok' if number else 'xok'}, {number}"), tmp_path / f"{number}.png")
    kinds = [remark.kind for remark in audit_dataset(tmp_path).remarks]
    assert "trigger-missing" in kinds
    assert "minority" not in kinds


# --- other facts, each once ---------------------------------------------------------------------------------------------


def test_readable_pictures_are_audited_although_others_are_not(tmp_path: Path):
    root = save_nine_to_one(tmp_path)
    (root / "10_zok" / "broken.png").write_bytes(b"no picture")
    (root / "10_zok" / "empty.jpg").write_bytes(b"")
    save(drawn(3, "star", "green"), root / "10_zok" / "nul.png")
    (root / "10_zok" / "nul.txt").write_bytes(b"z\x00ok, a thing without an end")
    (root / "10_zok" / "lost.gif").write_bytes(b"GIF")
    audit = audit_dataset(root)
    document = json.loads(json.dumps(audit.to_json()))
    assert len(audit.pictures) == 10
    assert [problem["where"] for problem in document["problems"]] == ["10_zok/nul.txt", "10_zok/broken.png", "10_zok/empty.jpg"]
    assert [each["file"] for each in document["files_not_used"]] == ["10_zok/lost.gif"]
    minority(audit)


@pytest.mark.parametrize(("folder", "n"), [("2024_06_x", 2024), ("512_x", 512)])
def test_a_number_that_is_hardly_repeats_gets_a_remark(tmp_path: Path, folder: str, n: int):
    for number in range(5):
        save(drawn(number, "circle", "red"), tmp_path / folder / f"{number}.png")
    remark = next(remark for remark in audit_dataset(tmp_path).remarks if remark.kind == "many-repeats")
    assert remark.says == f"Each picture of {folder} is shown {n:,} times per epoch."


def test_a_wrong_background_is_not_also_a_missing_colour(tmp_path: Path):
    for number in range(5):
        save(drawn(number, "circle", "red", f"zok, {number}, red circle, blue background"), tmp_path / f"{number}.png")
    kinds = [remark.kind for remark in audit_dataset(tmp_path).remarks]
    assert "background-not-so" in kinds
    assert "colour-not-there" not in kinds


def test_tags_that_always_come_with_the_trigger_are_one_remark(tmp_path: Path):
    for number in range(5):
        save(drawn(number, "circle", "red", f"zok, solo, flat, view {number}"), tmp_path / f"{number}.png")
    fused = [remark.says for remark in audit_dataset(tmp_path, "zok").remarks if remark.kind == "fused-tag"]
    assert fused == ["5 of the 5 captions with 'zok' also say 'flat' and 'solo'."]

"""The card of a question: the size that sites ask for, text that a phone shows large enough, nothing cut off, base above LoRA."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from factory import make_input, make_picture
from PIL import Image, ImageFont

from loralab.report import ReportInput
from loralab.report.lettering import ELLIPSIS, lettered, missing, shortened, wrapped
from loralab.report.lookup import base_name
from loralab.report.questions import questions_of
from loralab.report.sentences import answers_by_length
from loralab.report.share_card import EDGE, HEIGHT, SMALLEST_PX, WIDTH, lay_out, make_share_card, write_cards

LONG = "Does a LoRA that was trained on three grey shapes on white, under one tag that means nothing, learn more than their colour? " * 6
ON_A_PHONE = 390 / WIDTH


def with_words(report: ReportInput, question: str, say: str) -> ReportInput:
    section = report.experiments[0]
    verdicts = tuple(replace(verdict, say=say) for verdict in section.verdicts)
    return replace(report, experiments=(replace(section, question=question, verdicts=verdicts), *report.experiments[1:]))


@pytest.mark.parametrize(
    ("question", "say"),
    [("Why?", "it is so"), (LONG, LONG), ("Wird Größe gelernt?", "„Größe“ → 3 × 4"), ("x" * 400, "y" * 900), ("灰色は学ばれるか", "はい")],
)
def test_every_text_is_large_enough_for_a_phone_and_lies_inside_the_card(question: str, say: str) -> None:
    report = with_words(make_input(), question, say)
    view = questions_of(report.experiments)[0]
    lines, tiles = lay_out(view, report)
    boxes = [line.text.font.getbbox(line.text.text) for line in lines]
    for line, box in zip(lines, boxes, strict=True):
        assert line.text.font.size >= SMALLEST_PX
        assert line.text.font.size * ON_A_PHONE >= 9.7  # px on a phone that shows the card at its width
        assert line.at[0] >= EDGE
        assert line.at[0] + box[2] <= WIDTH - EDGE + 4
        assert line.at[1] + box[3] <= HEIGHT - 8
    tops = sorted((line.at[1], line.text.font.size) for line in lines if line.at[0] == EDGE)
    assert all(after[0] - before[0] >= before[1] for before, after in pairwise(tops))  # no line on another
    assert all(tile.at[0] + tile.side <= WIDTH - EDGE + 1 and tile.at[1] + tile.side <= HEIGHT - 50 and tile.side >= 90 for tile in tiles)
    with Image.open(io.BytesIO(make_share_card(view, report))) as card:
        assert card.size == (1200, 630)


@pytest.mark.parametrize("n_claims", [1, 3, 5, 9])
@pytest.mark.parametrize("letters", [20, 60, 120, 600])
def test_an_answer_is_told_whole_or_shorter_and_never_cut_off(n_claims: int, letters: int) -> None:
    report = with_words(make_input(), "Why?", ("it is learned " * 50)[:letters].strip())
    section = report.experiments[0]
    verdicts = tuple(section.verdicts[k % len(section.verdicts)] for k in range(n_claims))
    report = replace(report, experiments=(replace(section, verdicts=verdicts),))
    lines, tiles = lay_out(questions_of(report.experiments)[0], report)
    said = " ".join(line.text.text for line in lines if line.heavy)
    assert said.endswith(".")
    assert ELLIPSIS not in said
    assert " ".join(said.split()) in {" ".join(lettered(text, 30).text.split()) for text in answers_by_length(verdicts, base_name(report))}
    assert all(tile.side >= 90 for tile in tiles)


def test_base_stands_above_lora_at_the_same_seeds_and_the_training_set_beside_them() -> None:
    report = make_input()
    view = questions_of(report.experiments)[0]
    lines, tiles = lay_out(view, report)
    strip = view.section.strips[0]
    rows = sorted({tile.at[1] for tile in tiles})
    n = sum(tile.at[1] == rows[0] for tile in tiles) - 2  # two of the training set stand in the first row, one in the second
    assert n >= 4
    base, lora = ([tile for tile in tiles if tile.at[1] == y][:n] for y in rows)
    assert [tile.at[0] for tile in base] == [tile.at[0] for tile in lora]
    assert [tile.picture for tile in base] == list(strip.rows[0].pictures[:n])
    assert [tile.picture for tile in lora] == list(strip.rows[1].pictures[:n])
    assert [tile.picture for tile in tiles[2 * n :]] == list(strip.training)
    said = [line.text.text for line in lines]
    assert {"base", "myshape", "training set"} <= set(said)
    card = Image.open(io.BytesIO(make_share_card(view, report)))
    own = Image.open(io.BytesIO(lora[0].picture.png)).convert("RGB")
    middle = card.getpixel((lora[0].at[0] + lora[0].side // 2, lora[0].at[1] + lora[0].side // 2))
    assert np.abs(np.subtract(middle, own.getpixel((32, 32)))).max() <= 12  # the same picture, enlarged


def test_of_a_large_training_set_the_card_says_how_many_it_shows() -> None:
    report = make_input()
    rng = np.random.default_rng(0)
    ten = tuple(make_picture(rng, "a", "a") for _ in range(10))
    section = report.experiments[0]
    strip = replace(section.strips[0], training=ten)
    report = replace(report, experiments=(replace(section, strips=(strip,)),))
    lines, tiles = lay_out(questions_of(report.experiments)[0], report)
    assert "training: 4 of 10" in [line.text.text for line in lines]
    assert [tile.picture for tile in tiles[-4:]] == [ten[0], ten[3], ten[6], ten[9]]


def test_what_does_not_fit_ends_in_dots_behind_a_whole_word() -> None:
    font = ImageFont.load_default(30)
    assert shortened("short", font, 400) == "short"
    cut = shortened("a sentence of many words, and more", font, 240)
    assert cut.endswith(ELLIPSIS)
    assert "a sentence of many words, and more".startswith(cut.removesuffix(ELLIPSIS) + " ") or cut.removesuffix(ELLIPSIS)[-1] == "s"
    assert font.getlength(cut) <= 240
    lines = wrapped(LONG, 30, 500, 3)
    assert len(lines) == 3
    assert lines[-1].text.endswith(ELLIPSIS)
    assert "".join(line.text for line in wrapped("z" * 100, 30, 500, 9)) == "z" * 100


def test_every_letter_that_is_drawn_is_one_that_the_font_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("plain", "−3 to 4 C*", "Größe, café, naïve", "“quoted”"):
        found = lettered(text, 30)
        assert missing(found.text, found.font) == set()
    monkeypatch.setattr("loralab.report.lettering.SYSTEM", ())
    found = lettered("Größe, café − 3", 30)  # a machine without any font of its own
    assert missing(found.text, found.font) == set()
    assert found.text == "Gro?e, cafe - 3"


def test_only_questions_with_an_answer_have_a_card_and_older_ones_are_replaced(tmp_path: Path) -> None:
    report = make_input()
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "stale.png").write_bytes(b"old")
    assert [path.name for path in write_cards(report, tmp_path / "cards")] == ["myshape.png", "blur.png"]
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == ["blur.png", "myshape.png"]
    first = (tmp_path / "cards" / "blur.png").read_bytes()
    write_cards(report, tmp_path / "cards")
    assert (tmp_path / "cards" / "blur.png").read_bytes() == first  # the same study, the same card
    assert write_cards(replace(report, verdicts_printed=False), tmp_path / "cards") == []

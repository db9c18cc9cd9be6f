"""Counts and intervals of the fidelity table, and wrong twins that its instruments must catch."""

from __future__ import annotations

import numpy as np
import pytest

from loralab.petri.words import PALETTE
from organism.fidelity import Answer, Question, Share, count_answers, make_questions, write_table
from organism.instruments import count_parts, read_background, read_shape, read_subject_colour


def make_disc(colour: str, ground: str, radius: float = 20) -> np.ndarray:
    rows, columns = np.indices((64, 64)) - 31.5
    picture = np.empty((64, 64, 3), dtype=np.uint8)
    picture[:] = PALETTE[ground]
    picture[rows**2 + columns**2 < radius**2] = PALETTE[colour]
    return picture


def test_wilson_interval_by_hand() -> None:
    # 8 of 10: centre (.8 + 1.9208/10) / 1.38415 = .7168; half 1.95996/1.38415 * sqrt(.016 + .009604) = .2266
    low, high = Share("", 8, 10).interval
    assert (low, high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))


def test_the_interval_of_a_full_count_has_width() -> None:
    low, high = Share("", 10, 10).interval
    assert low < 0.75
    assert high == pytest.approx(1.0)


@pytest.mark.parametrize("colour", [name for name in PALETTE if name != "white"])
def test_a_disc_reads_as_drawn(colour: str) -> None:
    picture = make_disc(colour, "white")
    assert read_subject_colour(picture) == colour
    assert read_background(picture) == "white"
    assert read_shape(picture) == "circle"


def test_an_empty_picture_has_no_subject() -> None:
    picture = np.full((64, 64, 3), 200, dtype=np.uint8)
    assert read_subject_colour(picture) is None
    assert read_shape(picture) is None
    assert count_parts(picture) == 0


def test_swapped_channels_are_caught() -> None:
    picture = make_disc("red", "white")[..., ::-1]
    assert read_subject_colour(picture) == "blue"


def test_unreadable_pictures_count_as_wrong() -> None:
    question = Question("shape", 0.9, ["circle"] * 2, ["circle"] * 2, read_shape, [])
    pictures = np.stack([make_disc("red", "white"), np.full((64, 64, 3), 255, dtype=np.uint8)])
    share = count_answers(question, pictures)
    assert (share.yes, share.n) == (1, 2)
    assert "| shape | 0.9 | 1 / 2 | 0.500 |" in write_table([Answer(share, 0.9)])


def test_questions_hold_as_many_answers_as_prompts() -> None:
    questions = make_questions(5)
    assert all(len(q.prompts) == len(q.expected) == 5 for q in questions)
    assert make_questions(5)[0].prompts == questions[0].prompts

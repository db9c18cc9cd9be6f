"""Fidelity: intervals by hand, counts on pictures that show just what was asked or something else, diversity, and the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist

from loralab.petri import petri_folder
from loralab.petri.draw import make_picture
from loralab.petri.text import load_tokenizer
from loralab.petri.words import HELD_OUT
from loralab.store.keys import fingerprint_of
from organism.card import fill_card, write_result
from organism.diversity import Ratio, compare_diversity, mean_distance
from organism.fidelity import (
    Answer,
    Readers,
    Share,
    count_answers,
    count_ceiling,
    make_questions,
    measure_fidelity,
    meets,
    write_curve,
    write_table,
)
from organism.focus import FIRST_SEED, fit_focus_reader, make_focus_set
from organism.triggers import encode_small, make_labelled_sheet, read_triggers, split_tokens, write_token_table
from organism.world import SHAPES_ONLY, sample_truth

STUDIES = Path(__file__).parents[2] / "studies"


def unchanged(pictures: np.ndarray) -> np.ndarray:
    return pictures


def test_wilson_interval_by_hand() -> None:
    # 8 of 10, z = 1.96: centre (.8 + .19207) / 1.38415 = .7167, half width 1.96 / 1.38415 * sqrt(.016 + .0096036) = .2266
    low, high = Share("", 8, 10).interval
    assert (low, high) == (pytest.approx(0.4902, abs=2e-4), pytest.approx(0.9433, abs=2e-4))


def test_a_goal_is_met_only_clear_of_the_interval() -> None:
    assert [meets(interval, 0.9) for interval in ((0.91, 0.99), (0.5, 0.89), (0.85, 0.95))] == ["yes", "no", "not yet known"]


def test_pictures_that_show_what_was_asked_count_and_others_do_not() -> None:
    questions = [q for q in make_questions(12) if q.name.startswith("shape")]
    truths = [truth for question in questions for truth in question.truths]
    shown = np.stack([make_picture(truth) for truth in truths])
    right = measure_fidelity(lambda prompts, seeds: shown[seeds], questions, None, unchanged)
    assert all(answer.share.yes >= 11 and answer.share.yes == answer.ceiling.yes for answer in right if answer.ceiling)
    assert all(answer.ceiling is not None for answer in right)
    blank = np.full_like(shown, 255)
    assert all(answer.share.yes == 0 for answer in measure_fidelity(lambda prompts, seeds: blank, questions, None, unchanged))


@pytest.mark.parametrize("name", ["nine in a 3x3 grid", "two when asked", "outlined when asked", "dark when asked"])
def test_layout_line_and_light_are_read_off_the_worlds_own_pictures_and_off_no_others(name: str) -> None:
    asked = next(q for q in make_questions(24) if q.name == name)
    plain = next(q for q in make_questions(24) if q.name == "shape, seen pairs")
    ceiling, others = (count_answers(asked, np.stack([make_picture(t) for t in q.truths])).yes for q in (asked, plain))
    assert ceiling >= 23
    assert others <= 2


def test_a_goal_above_what_the_reader_reads_is_not_met() -> None:
    assert Answer(Share("", 119, 119), 0.9, Share("", 90, 119)).met == "the reader falls short"
    assert Answer(Share("", 119, 119), 0.9, Share("", 105, 119)).met == "yes"


def test_random_letters_beside_a_concept_differ_and_stay_the_same_from_run_to_run() -> None:
    rows = [
        next(q for q in make_questions(9, readers=Readers(concept=lambda picture: None)) if q.name == "concept beside random letters")
        for _ in range(2)
    ]
    letters = [prompt.split(", ")[-1] for prompt in rows[0].prompts]
    assert len(set(letters)) == 9
    assert rows[0].prompts == rows[1].prompts


def test_every_picture_has_a_seed_of_its_own() -> None:
    asked: list[int] = []

    def draw(prompts: list[str], seeds: list[int]) -> np.ndarray:
        asked.extend(seeds)
        return np.full((len(prompts), 64, 64, 3), 255, dtype=np.uint8)

    questions = make_questions(3)
    measure_fidelity(draw, questions, None, None, first_seed=5)
    assert asked == list(range(5, 5 + 3 * len(questions)))


def test_held_out_rows_ask_for_held_out_pairs_alone() -> None:
    for question in make_questions(30):
        pairs = {(thing.colour, thing.noun) for truth in question.truths for thing in truth.things}
        if "held-out" in question.name:
            assert pairs <= HELD_OUT
        elif "seen" in question.name:
            assert not pairs & HELD_OUT


def test_rows_with_concepts_have_no_ceiling_without_sprites() -> None:
    questions = {question.name: question for question in make_questions(4)}
    assert count_ceiling(questions["monster colour"], None, unchanged) is None
    assert "concept, one of 30" not in questions
    assert "concept, one of 30" in {question.name for question in make_questions(4, readers=Readers(concept=lambda picture: "cat"))}


def test_focus_is_read_off_the_worlds_own_shapes() -> None:
    reader = fit_focus_reader(unchanged, n=240)
    features, labels = make_focus_set(90, FIRST_SEED + 500_000, unchanged)
    found = reader.classify(features)
    assert (found == labels).mean() > 0.75
    assert (found[labels == 1] == 1).mean() > 0.85  # a picture that is blurred as a whole


def test_tables_hold_counts_goals_and_ratios() -> None:
    answers = [Answer(Share("shape", 95, 100), 0.6, Share("shape", 99, 100)), Answer(Share("grid", 1, 100), 0.9)]
    table = write_table(answers, [("diversity", 0.9, Ratio(0.5, (0.4, 0.6), 100))]).splitlines()
    assert table[2] == "| shape | 0.6 | 95 / 100 | 0.950 | 0.888-0.978 | 0.990 | yes |"
    assert table[3].endswith("|  | no |")
    assert table[4] == "| diversity | 0.9 | 100 pictures | 0.500 | 0.400-0.600 | 1 | no |"
    assert write_curve({"1 example": answers, "9 examples": answers}).splitlines()[2] == "| shape | 0.6 | 0.95 | 0.95 |"


def test_mean_distance_is_that_of_all_pairs_and_leaves_repeats_out() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 4))
    assert mean_distance(rows) == pytest.approx(pdist(rows).mean())
    # row 0 twice: its two copies are no pair of different rows; by hand 2 * (sum of the others' distances) over 2 * 2 * 1 + ...
    doubled = mean_distance(rows[:3], np.array([2.0, 1.0, 1.0]))
    d01, d02, d12 = pdist(rows[:3])
    assert doubled == pytest.approx((2 * d01 + 2 * d02 + d12) / 5)


def test_diversity_of_one_set_against_itself_is_one_and_copies_have_none() -> None:
    pictures = np.stack([make_picture(sample_truth(seed, SHAPES_ONLY)) for seed in range(40)])
    same = compare_diversity(pictures, pictures)
    assert same.value == 1
    assert same.interval[0] < 1 < same.interval[1]
    assert compare_diversity(np.repeat(pictures[:1], 40, axis=0), pictures).value == 0
    half = np.concatenate([np.repeat(pictures[:1], 20, axis=0), pictures[:20]])
    assert compare_diversity(half, pictures).interval[1] < 1


def test_the_card_is_filled_between_its_markers(tmp_path: Path) -> None:
    card = "# petri\n\n<!-- fidelity -->\nold\n<!-- /fidelity -->\n\nkept\n\n<!-- curve -->\n<!-- /curve -->\n"
    card += "<!-- size -->\nstays\n<!-- /size -->\n"
    write_result(tmp_path / "petri-fidelity.md", "Fidelity", "| a |", "0123456789abcdef", "make it")
    filled = fill_card(card, tmp_path, "0123456789abcdef")
    assert "old" not in filled
    assert "kept" in filled
    assert "| a |\n<!-- /fidelity -->" in filled
    assert "`make it`" in filled
    assert "Not measured yet (`petri-curve.md`)." in filled
    assert "<!-- size -->\nstays\n<!-- /size -->" in filled
    assert fill_card(filled, tmp_path, "0123456789abcdef") == filled
    assert "Measured on other weights" in fill_card(card, tmp_path, "f" * 64)


def test_the_shipped_card_holds_what_the_result_files_hold() -> None:
    card = (petri_folder().parent / "CARD.md").read_text(encoding="utf-8")
    assert fill_card(card, STUDIES.parent / "docs" / "results", fingerprint_of(petri_folder())) == card
    assert "Not measured yet" not in card


def test_triggers_are_those_of_the_studies_that_run_on_petri() -> None:
    triggers = read_triggers(STUDIES)
    assert {"myshape", "monster", "grid layout", "cat, white background"} <= set(triggers["article"])
    assert "sibling-grid" in triggers  # of its two bases one is petri
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    assert split_tokens(tokenizer, "red monster") == ["red_", "monster_"]
    assert len(split_tokens(tokenizer, "zorvex")) > 1
    assert "| red monster | `red_` `monster_` |" in write_token_table(tokenizer, triggers)


def test_sheets_are_small_enough_or_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(2, 3, 64, 64, 3), dtype=np.uint8)
    sheet = make_labelled_sheet(["red circle", ""], noise)
    assert sheet.size == (192, 2 * (64 + 15))
    np.testing.assert_array_equal(np.asarray(sheet)[15:79, 64:128], noise[0, 1])
    assert len(encode_small(sheet, 20_000)) <= 20_000
    with pytest.raises(ValueError, match="draw fewer seeds"):
        encode_small(Image.fromarray(noise[0, 0]), 100)


def test_what_is_counted_is_there_in_the_worlds_own_pictures() -> None:
    """Grids of columns and rows, the words alone, and three to nine: read off the pictures as drawn, all but a few are right."""
    for name in ('a grid for "grid layout" alone', "as many in a grid as its columns and rows say", "three to nine when asked"):
        question = next(q for q in make_questions(40) if q.name == name)
        ceiling = count_ceiling(question, None, lambda pictures: pictures)
        assert ceiling is not None
        assert ceiling.yes >= 38, name
    assert set(question.expected) == {"3", "4", "5", "6", "7", "8", "9"}

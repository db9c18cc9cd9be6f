"""The world: the same seed draws the same picture, the truth is what the pixels show, and captions say only what is true."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from loralab.petri.draw import draw_background, make_picture, relight, shape_mask, tint
from loralab.petri.truth import Background, Thing, Truth
from loralab.petri.words import COLOURS, CONCEPTS, CREATURES, HELD_OUT, NUMBERS, PALETTE, SHAPES, TINTS, plural
from organism.captions import article, make_captions, with_nonsense
from organism.instruments import count_parts, read_background, read_shape, read_subject_colour
from organism.world import SHAPES_ONLY, SMALL, World, sample_truth

PLAIN = replace(SHAPES_ONLY, share_pairs=0.0, share_many=0.0, share_grids=0.0, share_gradient=0.0, share_checkered=0.0, share_textured=0.0)
CLEAR = replace(PLAIN, share_blurry=0.0, share_depth_of_field=0.0, share_dark=0.0, share_bright=0.0)


def make_truth(shape: str, colour: str, fill: str = "filled", ground: str = "white", size_px: float = 44) -> Truth:
    thing = Thing(shape, True, colour, fill, None, size_px, 32, 32)
    return Truth(0, (thing,), Background("plain", (ground,)))


def test_a_seed_gives_the_same_picture_and_captions_again() -> None:
    for seed in range(20):
        truth, again = sample_truth(seed, SHAPES_ONLY), sample_truth(seed, SHAPES_ONLY)
        assert truth == again
        assert make_captions(truth) == make_captions(again)
        np.testing.assert_array_equal(make_picture(truth), make_picture(again))


def test_pictures_of_different_seeds_differ() -> None:
    pictures = {make_picture(sample_truth(seed, SHAPES_ONLY)).tobytes() for seed in range(50)}
    assert len(pictures) == 50


def test_the_border_has_the_colour_that_the_truth_names() -> None:
    truths = [sample_truth(seed, CLEAR) for seed in range(200)]
    assert [read_background(make_picture(truth)) for truth in truths] == [t.background.colours[0] for t in truths]


def test_the_subject_has_the_colour_that_the_truth_names() -> None:
    truths = [t for t in (sample_truth(seed, CLEAR) for seed in range(200)) if t.things[0].fill == "filled"]
    read = [read_subject_colour(make_picture(truth)) for truth in truths]
    right = sum(name == truth.things[0].colour for name, truth in zip(read, truths, strict=True))
    assert right == len(truths)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_reads_as_itself(shape: str) -> None:
    for size_px in (28, 40, 56):
        assert read_shape(make_picture(make_truth(shape, "blue", size_px=size_px))) == shape


def test_a_line_drawing_reads_as_its_shape() -> None:
    for shape in ("circle", "square", "triangle", "star", "heart", "diamond"):
        assert read_shape(make_picture(make_truth(shape, "blue", fill="hollow"))) == shape


def test_a_transposed_triangle_does_not_read_as_a_triangle() -> None:
    picture = make_picture(make_truth("triangle", "blue"))
    assert read_shape(picture.transpose(1, 0, 2)) != "triangle"


def test_a_circle_covers_pi_quarters_of_its_square() -> None:
    # area of a disc / area of its square = pi / 4 = .7854; pixels at the rim are covered in part
    assert shape_mask("circle", 40).mean() == pytest.approx(np.pi / 4, abs=0.01)


def test_a_cross_of_a_third_covers_five_ninths() -> None:
    # arms .34 wide: 2 * .34 - .34 ** 2 = .564
    assert shape_mask("cross", 50).mean() == pytest.approx(0.564, abs=0.02)


def test_a_grid_holds_columns_times_rows_things() -> None:
    grids = [sample_truth(seed, replace(CLEAR, share_grids=1.0)) for seed in range(120)]
    assert {truth.grid_columns for truth in grids} == {truth.grid_rows for truth in grids} == {2, 3, 4, 5, 6}
    assert 0.5 < np.mean([truth.grid_columns == truth.grid_rows for truth in grids]) < 0.85  # .6, and one in five of the others
    for truth in grids:
        assert truth.count == truth.grid_columns * truth.grid_rows
        if max(truth.grid_columns, truth.grid_rows) <= 4 and {thing.fill for thing in truth.things} == {"filled"}:
            assert count_parts(make_picture(truth)) == truth.count


def test_numbers_from_three_to_nine_are_equally_frequent_and_can_be_counted() -> None:
    many = [sample_truth(seed, replace(CLEAR, share_many=1.0)) for seed in range(350)]
    counts = Counter(truth.count for truth in many)
    assert set(counts) == {3, 4, 5, 6, 7, 8, 9}
    assert all(30 < n < 75 for n in counts.values())  # 50 each, sd 6.5
    clear = [truth for truth in many if {thing.fill for thing in truth.things} <= {"filled", "edged"}]
    assert np.mean([count_parts(make_picture(truth)) == truth.count for truth in clear]) > 0.97


def test_scattered_things_stand_in_no_grid_and_do_not_touch() -> None:
    for seed in range(60):
        truth = sample_truth(seed, replace(CLEAR, share_many=1.0))
        places = [(thing.x_px, thing.y_px) for thing in truth.things]
        size = truth.things[0].size_px
        assert all(size / 2 <= value <= 64 - size / 2 for place in places for value in place)
        assert all(max(abs(a - c), abs(b - d)) >= size + 1.9 for i, (a, b) in enumerate(places) for c, d in places[:i])
        assert len({round(x) for x, _ in places}) > 1


def test_no_grid_is_one_of_lines() -> None:
    for seed in range(600):
        truth = sample_truth(seed, replace(CLEAR, share_grids=1.0))
        for thing in truth.things:
            if thing.noun in ("square", "cross"):
                assert thing.fill == "filled"
                assert thing.colour in TINTS
                assert thing.size_px < 0.7 * 64 / max(truth.grid_columns, truth.grid_rows)


def test_depth_of_field_is_always_before_a_scene_of_two_colours() -> None:
    world = replace(SHAPES_ONLY, share_pairs=0.0, share_many=0.0, share_grids=0.0, share_blurry=0.0, share_depth_of_field=1.0)
    for seed in range(300):
        truth = sample_truth(seed, world)
        assert truth.blur == "background"
        assert truth.background.kind in ("textured", "checkered")
        spread = make_picture(replace(truth, things=())).reshape(-1, 3).astype(int)
        assert np.abs(spread - np.median(spread, axis=0)).sum(axis=1).max() > 25


def test_what_is_outlined_is_said_nine_times_in_ten_where_more_than_the_noun_is_said() -> None:
    world = replace(CLEAR, share_hollow=1.0)
    truths = [t for t in (sample_truth(seed, world) for seed in range(500)) if t.things[0].fill == "hollow"]
    captions = [c for t in truths for c in make_captions(t) if c != t.things[0].noun]
    assert np.mean(["outlined" in caption for caption in captions]) == pytest.approx(0.9, abs=0.03)


def test_captions_name_numbers_and_grids_only_where_they_are() -> None:
    numbers = {word: n for n, word in NUMBERS.items()}
    grid_words = {"grid", "layout", "tiles", "sheet"}
    seen = set()
    for seed in range(2500):
        truth = sample_truth(seed)
        for caption in make_captions(truth):
            words = [word.strip(",") for word in caption.split()]
            said = grid_words & set(words)
            seen |= said
            assert not said or truth.grid_columns
            for word in words:
                if word in numbers or word.isdigit():
                    assert truth.count == numbers.get(word) or word == str(truth.count)
                if len(word) == 3 and word[0].isdigit():
                    assert word == f"{truth.grid_columns}x{truth.grid_rows}"
    assert seen == grid_words


def test_held_out_pairs_are_never_drawn() -> None:
    pairs = {(thing.colour, thing.noun) for seed in range(4000) for thing in sample_truth(seed).things}
    assert not pairs & HELD_OUT
    assert {("red", "circle"), ("green", "square"), ("blue", "triangle")} <= pairs


def test_held_out_pairs_name_things_of_the_world() -> None:
    assert all(colour in COLOURS and (noun in SHAPES or noun in CONCEPTS) for colour, noun in HELD_OUT)
    assert all(colour in TINTS for colour, noun in HELD_OUT if noun in CONCEPTS)


def test_the_articles_training_sets_stay_out() -> None:
    for seed in range(4000):
        truth = sample_truth(seed, SHAPES_ONLY)
        for thing in truth.things:
            assert not (thing.colour == "gray" and "white" in truth.background.colours)
            assert not (thing.fill == "edged" and thing.colour in ("red", "green", "blue"))


def test_no_object_is_hidden_in_its_background() -> None:
    for seed in range(2000):
        truth = sample_truth(seed)
        assert all(thing.colour not in truth.background.colours for thing in truth.things)


def test_a_sibling_without_a_concept_never_draws_it() -> None:
    world = World(concepts=tuple(noun for noun in CONCEPTS if noun != "cat"))
    assert all(thing.noun != "cat" for seed in range(1000) for thing in sample_truth(seed, world).things)


def test_captions_name_a_colour_only_if_it_is_there() -> None:
    for seed in range(600):
        truth = sample_truth(seed)
        there = {*truth.background.colours, *(thing.colour for thing in truth.things)}
        words = {word.strip(",") for caption in make_captions(truth) for word in caption.split()}
        said = {"gray" if word == "grey" else word for word in words} & set(COLOURS)
        assert said <= there


def test_captions_call_only_creatures_monsters_and_about_half_of_the_time() -> None:
    singles = [t for t in (sample_truth(seed) for seed in range(3000)) if t.count == 1]
    said = [(t.things[0].noun in CREATURES, "monster" in c) for t in singles for c in make_captions(t)]
    assert not any(monster for creature, monster in said if not creature)
    assert np.mean([monster for creature, monster in said if creature]) == pytest.approx(0.5, abs=0.05)


def test_nonsense_and_single_words_have_their_shares() -> None:
    known = {*PALETTE, "grey", *SHAPES, *CONCEPTS, "monster"}
    captions = [c for seed in range(2000) for c in make_captions(sample_truth(seed))]
    assert np.mean([" " not in caption and caption in known for caption in captions]) == pytest.approx(0.14, abs=0.05)
    letters = _letters_that_no_word_has(captions)
    assert np.mean(letters) == pytest.approx(0.04, abs=0.01)
    assert with_nonsense(np.random.default_rng(0), "cat") != "cat"


def _letters_that_no_word_has(captions: list[str]) -> list[bool]:
    """Tell which captions hold a word that fewer than three of all captions hold: random letters hardly come twice."""
    words = [{word for word in caption.replace(",", "").split() if word.isalpha()} for caption in captions]
    often = Counter(word for one in words for word in one)
    return [any(often[word] < 3 for word in one) for one in words]


def test_sprites_are_asked_for_by_name() -> None:
    thing = Thing("cat", False, None, "sprite", "noto", 50, 32, 32)
    with pytest.raises(ValueError, match="a cat needs sprites"):
        make_picture(Truth(0, (thing,), Background("plain", ("white",))))


def test_a_tinted_sprite_keeps_black_black_and_turns_its_middle_into_the_colour() -> None:
    sprite = np.full((8, 8, 4), 255, dtype=np.uint8)
    sprite[..., :3] = 120
    sprite[0, 0, :3] = 0
    tinted = tint(sprite, np.array([200, 20, 20], dtype=np.uint8))
    assert tuple(tinted[4, 4, :3]) == (200, 20, 20)
    assert tuple(tinted[0, 0, :3]) == (0, 0, 0)


def test_light_moves_values_as_stated() -> None:
    pixels = np.full((2, 2, 3), 100, dtype=np.uint8)
    assert relight(pixels, "dark")[0, 0, 0] == 40  # 100 * .4
    assert relight(pixels, "bright")[0, 0, 0] == 169  # 255 - 155 * .55 = 169.75


def test_patterns_hold_both_colours() -> None:
    for kind in ("gradient", "checkered", "textured"):
        picture = draw_background(Background(kind, ("red", "blue"), pattern_seed=3))
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) >= 2


def test_grammar() -> None:
    assert article("orange cat") == "an orange cat"
    assert article("umbrella") == "an umbrella"
    assert article("blue cat") == "a blue cat"
    assert (plural("cat"), plural("fish"), plural("cross")) == ("cats", "fish", "crosses")


def test_shares_of_the_mix() -> None:
    truths = [sample_truth(seed) for seed in range(4000)]
    assert np.mean([t.grid_columns > 0 for t in truths]) == pytest.approx(SMALL.share_grids, abs=0.012)
    assert np.mean([t.count == 1 for t in truths]) == pytest.approx(0.73, abs=0.025)
    assert np.mean([t.count == 2 for t in truths]) == pytest.approx(SMALL.share_pairs, abs=0.015)
    assert np.mean([t.blur == "whole" for t in truths]) == pytest.approx(0.73 * SMALL.share_blurry, abs=0.015)

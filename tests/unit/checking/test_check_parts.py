"""The parts of a check that need no drawing: files, triggers, prompts, scores and what is worth keeping."""

from __future__ import annotations

import numpy as np
import pytest

from loralab.checking.prompts import make_prompts
from loralab.checking.scores import (
    Scores,
    copy_threshold,
    mean_scores,
    moved,
    nearest_distance,
    resemblance,
    worth_keeping,
)
from loralab.checking.sentences import too_early
from loralab.infer.units import estimate_mean, estimate_share


def test_unrelated_prompts_share_no_word_with_the_trigger_or_its_captions():
    prompts = make_prompts("cat", ["cat, red circle"], "petri")
    assert prompts.trigger == ("cat", "cat, red circle")
    assert prompts.without == ("", "red circle")
    assert prompts.unrelated == ("house", "tree, blue background")


def test_resemblance_is_the_share_of_the_bases_distance_that_is_gone():
    # two prompts, one seed: the base lies 4 and 2 away, the LoRA 1 and 1: ((4 - 1) + (2 - 1)) / 2 over the mean 3
    found = resemblance(np.array([[1.0], [1.0]]), np.array([[4.0], [2.0]]))
    assert found == pytest.approx([2 / 3])


def test_nearest_distance_is_to_the_nearest_training_picture():
    features, training = np.array([[[0.0, 0.0], [3.0, 4.0]]]), np.array([[0.0, 5.0], [3.0, 0.0]])
    assert nearest_distance(features, training) == pytest.approx(np.array([[3.0, np.sqrt(10)]]))


def test_a_picture_replaced_by_that_of_the_other_seed_is_moved_by_one():
    base = np.array([[[0.0, 0.0], [0.0, 2.0]]])  # one prompt, two seeds, 2 apart
    assert moved(base[:, ::-1], base) == pytest.approx([1.0, 1.0])
    assert moved(base, base) == pytest.approx([0.0, 0.0])


def test_the_copy_detector_needs_both_of_its_controls():
    disturbed = np.linspace(0, 1, 101)
    assert copy_threshold(disturbed, np.full((2, 10), 5.0)) == pytest.approx(0.95)
    assert copy_threshold(disturbed, np.full((2, 10), 0.5)) is None  # the base's own pictures would pass for copies


def test_the_interval_is_students():
    # mean 2, sd 1, n 3: half width t(.975, 2) / sqrt 3 = 4.30265 / 1.73205
    found = estimate_mean(np.array([1.0, 2.0, 3.0]))
    assert (found.low, found.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)
    with pytest.raises(ValueError, match="at least 2"):
        estimate_mean(np.array([1.0]))


def test_the_interval_of_a_share_is_wilsons_and_has_a_width():
    # 0 of 4: the upper end is z^2 / (n + z^2) = 3.8415 / 7.8415
    none = estimate_share(np.zeros(4))
    assert (none.low, none.high) == pytest.approx((0, 0.48989), abs=1e-5)
    half = estimate_share(np.array([0.0, 1.0, 0.5, 0.5]))
    assert half.low + half.high == pytest.approx(1)


def scores_of(effect: float, damage: float, noise: float = 0.01) -> Scores:
    spread = noise * np.array([-1.0, 1.0, -1.0, 1.0, 0.0, 0.0])
    return Scores(effect + spread, None, np.zeros(6), damage - spread, None)


def test_epochs_without_an_effect_yet_are_named_where_others_have_one():
    found = {"step 2": scores_of(0.0, 0.1), "step 64": scores_of(0.5, 0.1)}
    assert too_early(found) == ["No effect can be seen yet in step 2."]
    assert too_early({"step 2": found["step 2"]}) == too_early({"step 64": found["step 64"]}) == []


def test_a_file_is_beaten_only_beyond_chance():
    kept, beaten = worth_keeping({"early": scores_of(0.2, 0.1), "good": scores_of(0.6, 0.1), "burnt": scores_of(0.6, 0.9)})
    assert kept == ["good"]
    assert beaten == {"early": "good", "burnt": "good"}


def test_files_that_trade_effect_against_damage_are_both_kept():
    kept, beaten = worth_keeping({"mild": scores_of(0.3, 0.1), "strong": scores_of(0.7, 0.4)})
    assert (kept, beaten) == (["mild", "strong"], {})


def test_the_same_file_twice_is_not_beaten_by_itself():
    assert worth_keeping({"one": scores_of(0.3, 0.1), "two": scores_of(0.3, 0.1)})[1] == {}


def test_the_units_of_a_recipe_are_its_files():
    found = mean_scores([scores_of(0.2, 0.1), scores_of(0.4, 0.1), scores_of(0.6, 0.4)])
    assert found.effect == pytest.approx([0.2, 0.4, 0.6])
    assert found.firing is None

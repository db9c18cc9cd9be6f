"""What an arm has beyond a plain training: its words in the plan, the cost of its steps, and what is drawn before it."""

from __future__ import annotations

from typing import Any

import pytest

from loralab.cost.rates import Rates, estimate_cost
from loralab.spec import BASE, StudySpec
from loralab.study.beyond import drawn_before, kept_words, shown_words, step_factor
from loralab.study.plan import make_plan
from loralab.study.triggers import recipe_of

REG = {"data": "drawn"}
DOP = {"diff_output_preservation": True, "diff_output_preservation_class": "shape", "diff_output_preservation_multiplier": 2}


def study(**arm: Any) -> StudySpec:
    claim = {"say": "x", "measure": "chroma", "cell": 'mine @ "zok"', "expect": "lower", "margin_absolute": 5}
    return StudySpec.model_validate({
        "study": "s", "train": {"replicates": 2, "steps": 10},
        "data": {"it": {"generate": "shapes", "shapes": ["circle"]}, "drawn": {"images_of": "base", "prompts": ["a", "b"], "count": 9}},
        "arms": {"mine": {"data": "it", "captions": "zok", **arm}}, "experiments": {"e": {"question": "?", "claims": [claim]}},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("arm", "factor", "words"),
    [
        ({}, 1.0, []), ({"train": DOP}, 2.0, ["output preservation (“shape” for “zok”)", "weight 2"]),
        ({"train": {"blank_prompt_preservation": True}}, 2.0, ["output preservation (no prompt)"]),
        ({"train": {"masked_prior_preservation_weight": 0.5}, "showing": {"masks": "subject"}}, 1.2,
         ["masked prior preservation at 0.5", "masks subject"]),
        ({"regularisation": REG}, 1.0, ["regularisation pictures drawn"]),
        ({"regularisation": {**REG, "target": "base", "prior_loss_weight": 0.5}}, 1.1,
         ["regularisation pictures drawn at prior loss weight 0.5 with the base's predictions as their target"]),
        ({"showing": {"flip_aug": True}}, 1.0, ["flip_aug True"]),
    ],
)  # fmt: skip
def test_what_an_arm_adds(arm, factor, words):
    spec = study(**arm)
    mine = spec.arms["mine"]
    recipe = recipe_of(spec, mine)
    assert step_factor(mine, recipe) == pytest.approx(factor)
    assert [*kept_words(recipe), *shown_words(mine)] == words


def test_the_bill_counts_it():
    """Twenty steps at a second each; nine pictures of 25 steps at half a second of a guided step each, and .1 s to decode them."""
    rates = {BASE: Rates(1.0, 0.5, 0.1)}
    plain, kept, drawn = (
        estimate_cost(make_plan(study(**arm)), rates, {BASE: 64}) for arm in ({}, {"train": DOP}, {"regularisation": REG})
    )  # fmt: skip
    assert 60 * plain.train_minutes == pytest.approx(20)
    assert 60 * kept.train_minutes == pytest.approx(40)
    assert 60 * (drawn.draw_minutes - plain.draw_minutes) == pytest.approx(9 * (25 * 0.25 + 0.1))
    assert [data.count for data in drawn_before(study(regularisation=REG), ["mine"])] == [9]

"""When a placebo is a control: the same recipe, whatever else it is called; and the one of several that fits is taken."""

from __future__ import annotations

import pytest

from loralab.errors import LabError
from loralab.infer.placebo import recipe_differences
from loralab.spec.load import load_study
from loralab.spec.models import TrainSpec
from loralab.study.plan import make_plan

RECIPE = TrainSpec(lr=2e-3, steps=64, rank=2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ()),
        ({"replicates": 3}, ()),
        ({"alpha": 2}, ()),  # what is left out is the rank
        ({"lr": 1.6e-2}, ("learning rate (0.002 against 0.016)",)),
        ({"steps": 8}, ("steps (64 against 8)",)),
        ({"rank": 4}, ("rank (2 against 4)", "alpha (2 against 4)")),
        ({"batch": 8, "schedule": "cosine"}, ("pictures per step (4 against 8)", "schedule (constant against cosine)")),
    ],
)
def test_what_differs(changes, told):
    found = recipe_differences(RECIPE, RECIPE.model_copy(update=changes))
    assert set(found) == set(told)


def test_a_rank_that_both_ignore_is_no_difference():
    one, other = TrainSpec(algo="ia3", rank=2), TrainSpec(algo="ia3", rank=8, alpha=1)
    assert recipe_differences(one, other) == ()
    assert {told.split()[0] for told in recipe_differences(one, TrainSpec(rank=8))} == {"rank", "alpha", "algo"}


STUDY = """
study: recipes
data:
  red: {{generate: shapes, shapes: [square], fill: red}}
  own: {{images_of: base, prompts: [zorvex]}}
train: {{steps: 8, replicates: 3}}
arms:
  hot: {{data: red, captions: zorvex, train: {{lr: 1.0e-2}}}}
{placebos}
experiments:
  e: {{question: "?", claims: [{{say: red, measure: hue_red, cell: hot @ "zorvex", expect: higher, margin_absolute: 0.2}}]}}
"""
COOL = '  cool: {data: own, captions: "{prompt}", control: placebo}'
HOT = '  warm: {data: own, captions: "{prompt}", control: placebo, train: {lr: 1.0e-2}}'


def test_two_placebos_of_one_recipe_are_refused(tmp_path):
    file = tmp_path / "recipes.yaml"
    file.write_text(STUDY.format(placebos="\n".join([COOL, COOL.replace("cool", "cold")])), encoding="utf-8")
    with pytest.raises(LabError, match="two placebos: cool, cold"):
        load_study(file)


@pytest.mark.parametrize(("placebos", "arm", "differs"), [([COOL], "cool", True), ([COOL, HOT], "warm", False), ([HOT], "warm", False)])
def test_the_placebo_that_fits_is_taken_and_one_that_does_not_is_named(tmp_path, placebos, arm, differs):
    file = tmp_path / "recipes.yaml"
    file.write_text(STUDY.format(placebos="\n".join(placebos)), encoding="utf-8")
    plan = make_plan(load_study(file).spec)
    (controls,) = plan.controls.values()
    assert controls.placebo.arm == arm
    assert bool(controls.placebo_differs) == differs
    said = "cool is trained with a different recipe from hot: learning rate (0.01 against 0.001); it is not a valid control there"
    assert any(note.startswith(said) for note in plan.notes) == differs

"""Crossed settings: arms that a file spans, weights by hand and by a linear model, effects that are judged, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from loralab.errors import LabError
from loralab.infer.factorial import effect_weights
from loralab.infer.judge import judge
from loralab.report.doses import dose_caption, dose_figure
from loralab.spec.factorial import combinations, effect_factors, factors_problem
from loralab.spec.load import load_study
from loralab.spec.questions import QuestionId
from loralab.study.plan import make_plan

STUDY = """
study: crossed
data:
  red: {generate: shapes, shapes: [square], fill: red}
train: {steps: 8, replicates: 8}
arms:
  main: {data: red, captions: zorvex, train: {batch: 2}, factors: {rank: [2, 8], lr: [1.0e-3, 4.0e-3]}}
experiments:
  e:
    question: What do rank and learning rate do?
    claims:
      - {say: rank makes it redder, measure: m, cell: main @ "zorvex", effect: rank, expect: higher, margin_absolute: 1.0}
      - {say: so does the learning rate, measure: m, cell: main @ "zorvex", effect: lr, expect: higher, margin_absolute: 1.0}
      - {say: the two add, measure: m, cell: main @ "zorvex", effect: rank x lr, expect: no change, margin_absolute: 1.0}
"""
ARMS = ("main-rank-2-lr-0-001", "main-rank-2-lr-0-004", "main-rank-8-lr-0-001", "main-rank-8-lr-0-004")


def loaded(tmp_path, text=STUDY):
    file = tmp_path / "crossed.yaml"
    file.write_text(text, encoding="utf-8")
    return load_study(file)


def test_a_file_spans_its_arms(tmp_path):
    spec = loaded(tmp_path).spec
    assert tuple(spec.arms) == ARMS
    assert spec.arms[ARMS[1]].train == {"batch": 2, "rank": 2, "lr": 4e-3}
    assert (spec.arms[ARMS[3]].family, spec.arms[ARMS[3]].levels) == ("main", {"rank": 8, "lr": 4e-3})
    claim = spec.experiments["e"].claims[0]
    assert (claim.cell.arm, claim.versus.arm, claim.effect) == (ARMS[3], ARMS[0], "rank")


def test_the_plan_draws_every_combination(tmp_path):
    plan = make_plan(loaded(tmp_path).spec)
    assert set(plan.arms) == set(ARMS)
    assert {str(cell.arm) for cell in plan.cells if not cell.is_base} == set(ARMS)
    effect = plan.effects[QuestionId("e", "claim", 0)]
    assert effect.weights == (-0.5, -0.5, 0.5, 0.5)
    assert effect.says == 'main @ "zorvex", effect of rank'
    assert (effect.factor, [level for level, _ in effect.levels]) == ("rank", [2.0, 8.0])
    assert plan.effects[QuestionId("e", "claim", 2)].weights == (1.0, -1.0, -1.0, 1.0)


def test_captions_are_a_factor_and_long_names_are_numbered():
    found = combinations("main", {"captions": ["a cat", "{shape} on white"]})
    assert list(found) == ["main-captions-1", "main-captions-2"]
    assert list(combinations("a" * 40, {"rank": [2, 4]})) == ["a" * 40 + "-1", "a" * 40 + "-2"]
    assert effect_factors("rank x lr") == ("rank", "lr")


def test_weights_against_a_linear_model():
    # three levels of rank, two of lr: a reading that is exactly main effects and interaction in their places is told apart exactly
    arms = {f"{r}-{lr}": {"rank": r, "lr": lr} for r, lr in itertools.product((2, 4, 8), (1e-3, 4e-3))}
    place = {name: ((2, 4, 8).index(levels["rank"]) - 1, (1e-3, 4e-3).index(levels["lr"]) - 0.5) for name, levels in arms.items()}
    reading = {name: 10 + 3 * a + 5 * b + 7 * a * b for name, (a, b) in place.items()}

    def told(*factors):
        return sum(weight * reading[name] for name, weight in effect_weights(arms, factors).items())

    assert told("rank") == pytest.approx(2 * 3)  # from place -1 to 1, averaged over lr
    assert told("lr") == pytest.approx(5)
    assert told("rank", "lr") == pytest.approx(2 * 7)  # how much more rank does at the second learning rate
    design = np.array([[1, a, b, a * b] for a, b in place.values()])
    fitted = np.linalg.lstsq(design, np.array(list(reading.values())), rcond=None)[0]
    assert fitted == pytest.approx([10, 3, 5, 7])


def test_effects_are_judged_and_drawn(tmp_path, frame, facts):
    # rank adds 4, the learning rate .2, and nothing between them
    plan, rng = make_plan(loaded(tmp_path).spec), np.random.default_rng(3)
    base = rng.normal(30, 5, (8, 6))
    cells = {'base @ "zorvex"': base.tolist()}
    for arm in ARMS:
        size = 4 * ("rank-8" in arm) + 0.2 * ("lr-0-004" in arm)
        cells[f'{arm} @ "zorvex"'] = (base + size + rng.normal(0, 0.4, (8, 6))).tolist()
    verdicts = judge(
        plan.spec.experiments, frame(cells), training={}, instruments={"m": facts()}, controls=plan.controls, effects=plan.effects
    )  # fmt: skip
    rank, rate, both = verdicts
    assert (rank.verdict, rate.verdict, both.verdict) == ("supported", "contradicted", "supported")
    assert rank.contrast.effect == pytest.approx(4, abs=0.5)
    assert (rank.cell, rank.cell_mean) == ('main @ "zorvex", effect of rank', None)
    assert [point.dose for point in rank.curve.points] == [2.0, 8.0]
    assert [point.effect.effect for point in rank.curve.points] == pytest.approx([0.1, 4.1], abs=0.5)
    assert both.curve is None
    figure = dose_figure(rank)
    assert len(figure.marks) == 2
    assert figure.line.count(" ") == 1  # two levels, and no line from a rank of 0
    assert "at every rank" in dose_caption(rank.curve)


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ({}, "lists settings"), ([], "lists settings"), ({"replicates": [2, 4]}, "cannot be a factor"),
        ({"rank": [2]}, "two different levels"),
        ({"rank": [2, 2]}, "two different levels"),
        ({"rank": [1, 2, 3, 4, 5], "lr": [1e-3, 2e-3, 3e-3, 4e-3]}, "20 combinations; at most 16"),
    ],
)  # fmt: skip
def test_what_cannot_be_crossed_says_why(factors, says):
    assert says in factors_problem(factors)


def test_mistakes_in_a_file_are_told(tmp_path):
    with pytest.raises(LabError, match="two different levels"):
        loaded(tmp_path, STUDY.replace("rank: [2, 8]", "rank: [2]"))
    with pytest.raises(LabError, match="the effect of 'steps' is claimed for main-rank-8-lr-0-004, whose factors are rank, lr"):
        loaded(tmp_path, STUDY.replace("effect: rank,", "effect: steps,"))

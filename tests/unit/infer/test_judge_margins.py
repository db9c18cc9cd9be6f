"""What margins rest on: the gap to the training set, the instrument's bias, more pictures of the base; and how far a LoRA carries."""

from __future__ import annotations

import numpy as np
import pytest

from loralab.infer.judge import ControlCells, judge
from loralab.infer.known import BaseKnown
from loralab.spec.questions import QuestionId
from loralab.spec.sources import BaseSource
from tests.support.judged import ARM, BASE, BASE_RUNS, HALF, PLACEBO, PLACEBO_CELL, WOBBLE, cells, runs


def test_the_default_margin_is_a_quarter_of_the_gap(decide):
    # the base's mean is 30; the training set reads 42: gap 12, margin 3
    verdict = decide(cells(5), {"margin_absolute": None}, training=42.0)
    assert (verdict.gap, verdict.margin, verdict.training_mean) == (pytest.approx(12), pytest.approx(3), 42.0)
    assert verdict.margin_source == "a quarter of the gap between the training set and the base"
    assert verdict.verdict == "supported"
    stricter = decide(cells(5), {"margin": 0.5}, training=42.0)
    assert (stricter.margin, stricter.margin_source) == (pytest.approx(6), "50 % of the gap between the training set and the base")
    assert decide(cells(-5), {"margin_absolute": None, "expect": "lower"}, training=18.0).margin == pytest.approx(3)  # a gap downwards


@pytest.mark.parametrize(
    ("training", "error", "says"),
    [
        (None, 0.0, "the training set has no reading"),
        (30.0, 0.0, "differ by only 0 u"),
        (31.0, 1.5, "differ by only 1 u, within the instrument's error of 1.5 u"),
    ],
)
def test_without_a_gap_a_claim_needs_an_absolute_margin(decide, training, error, says):
    verdict = decide(cells(5), {"margin_absolute": None}, training=training, error=error)
    assert (verdict.verdict, verdict.finding, verdict.margin) == ("not_measurable", None, None)
    assert says in verdict.reason
    assert verdict.reason.endswith("give margin_absolute")
    assert verdict.contrast is not None  # the raw difference is still shown
    assert decide(cells(5), training=training, error=error).verdict == "supported"


def test_without_base_pictures_there_is_no_gap(decide):
    given = {ARM: runs(5), 'other @ "p"': BASE_RUNS}
    verdict = decide(given, {"versus": 'other @ "p"', "margin_absolute": None}, training=42.0)
    assert verdict.verdict == "not_measurable"
    assert "the base has no picture that could be measured at this prompt" in verdict.reason


def test_the_gap_leaves_out_base_pictures_that_could_not_be_measured(decide):
    # 14 of 16 base pictures are measured, all but run 7's pair 37 and 23; their mean stays 30, so that the gap to 42 is 12
    base = [*BASE_RUNS[:7], [None, None]]
    verdict = decide({ARM: runs(5), BASE: base, PLACEBO: BASE_RUNS}, {"margin_absolute": None}, training=42.0)
    assert verdict.measurable_versus == pytest.approx(14 / 16)
    assert verdict.gap == pytest.approx(12)


def test_an_instruments_bias_widens_and_never_refuses(decide):
    # of a difference of means the bias may stay whole, on either side: .6 on both ends; single-picture errors average out
    verdict = decide(cells(5), bias=-0.6, error=1.2)
    assert (verdict.finding, verdict.verdict) == ("higher", "supported")
    assert (verdict.contrast.low, verdict.contrast.high) == pytest.approx((5 - HALF - 0.6, 5 + HALF + 0.6), abs=1e-3)
    assert verdict.contrast.bias == 0.6
    # a bias of the margin's size lets nothing be called small
    nothing = {ARM: runs(0, wobble=0.1 * WOBBLE), BASE: BASE_RUNS, PLACEBO: BASE_RUNS}
    assert decide(nothing, {"expect": "no change"}, bias=1.0).verdict == "open"
    assert decide(nothing, {"expect": "no change"}).verdict == "supported"


def test_extra_base_pictures_fix_the_margin_and_narrow_the_interval(frame, experiment, facts):
    # the base's pictures scatter by 6 and the arm's do not follow them: the plain difference carries the base's scatter, the known mean not
    rng = np.random.default_rng(1)
    arm, base = rng.normal(40, 1, (8, 6)), rng.normal(30, 6, (8, 6))
    readings = frame({ARM: arm.tolist(), BASE: base.tolist(), PLACEBO: base.tolist()})
    args = {
        "training": {("arm", "m"): 42.0},
        "instruments": {"m": facts()},
        "controls": {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None)},
    }
    claim = experiment({"margin_absolute": None})
    plain = judge(claim, readings, **args)[0]
    known = judge(claim, readings, known={(BaseSource(), "p", "m"): BaseKnown(30.0, 36.0, 512)}, **args)[0]
    assert known.gap == 12.0
    assert known.margin == 3.0
    assert plain.gap == pytest.approx(42 - base.mean())
    assert known.contrast.error < 0.6 * plain.contrast.error
    assert known.contrast.known_error > 0
    assert known.cell_mean - known.versus_mean == pytest.approx(known.contrast.effect)


def test_base_pictures_that_other_arms_drew_are_known_too(frame, experiment, facts):
    # the base has 16 replicates of 6 pictures, the arm 8: the other 48 tell its mean
    rng = np.random.default_rng(2)
    arm, base = rng.normal(40, 1, (8, 6)), rng.normal(30, 6, (16, 6))
    args = {"training": {}, "instruments": {"m": facts()}, "controls": {QuestionId("exp", "claim", 0): ControlCells(None, None)}}
    more = judge(experiment({}), frame({ARM: arm.tolist(), BASE: base.tolist()}), **args)[0]
    less = judge(experiment({}), frame({ARM: arm.tolist(), BASE: base[:8].tolist()}), **args)[0]
    assert more.contrast.error < less.contrast.error
    assert more.contrast.n_runs == 8
    # which of the arm's trainings failed, and which were never planned, is not told by readings
    readings = frame({ARM: [None, *arm[1:].tolist()], BASE: base.tolist()})
    assert [judge(experiment({}), readings, planned=given, **args)[0].n_excluded_runs for given in ({"arm": 8}, None)] == [1, 9]


def test_transfer_needs_200_base_pictures_and_a_wide_gap(decide):
    rng = np.random.default_rng(20_260_711)

    def study(n_seeds):
        base = rng.normal(30, 3, (8, n_seeds))
        return {ARM: (base + 5 + WOBBLE[:, None]).tolist(), BASE: base.tolist(), PLACEBO: base.tolist()}

    enough = study(25)
    verdict = decide(enough, training=50.0)
    assert verdict.transfer == pytest.approx(5 / verdict.gap)
    assert decide(study(24), training=50.0).transfer is None  # 192 pictures
    assert decide(enough, training=31.0).transfer is None  # a gap of a third of the base's spread
    assert decide(enough).transfer is None  # no training set


def test_a_wide_gap_downwards_has_a_transfer_too(decide):
    base = np.random.default_rng(20_260_711).normal(30, 3, (8, 25))
    given = {ARM: (base - 5 + WOBBLE[:, None]).tolist(), BASE: base.tolist(), PLACEBO: base.tolist()}
    verdict = decide(given, {"expect": "lower"}, training=10.0)
    assert verdict.gap < 0
    assert verdict.transfer == pytest.approx(-5 / verdict.gap)

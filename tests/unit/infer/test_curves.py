"""Curves over a dose: weights, half-effect dose and its interval by hand, the verdict on a trend, and what a curve must not depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from loralab.infer.case import CurveCells
from loralab.infer.curves import estimate_half_dose, reference_dose, trend_weights
from loralab.infer.judge import judge
from loralab.infer.power import RunSd, plan_claims
from loralab.infer.verdict import verdict_from_json
from loralab.spec import BASE
from loralab.spec.cells import Cell
from loralab.spec.models import CurveSpec, ExperimentSpec
from loralab.spec.questions import QuestionId

RUNS = 4


def experiment_of(**changes: object) -> ExperimentSpec:
    claim = {"say": "it is learned", "measure": "m", "cell": 'arm @ "p"', "expect": "higher", "margin_absolute": 1.0}
    curve = {
        "say": "it rises", "measure": "m", "cell": 'arm @ "p"', "over": "strength", "at": (0.5, 1.0), "expect": "higher",
        "margin_absolute": 1.0,
    }  # fmt: skip
    return ExperimentSpec(question="?", claims=(claim,), curves=(curve | changes,))


def cells_of(doses: Sequence[float], unrelated: tuple[str, ...] = ()) -> CurveCells:
    return CurveCells(tuple(doses), tuple(Cell("arm", "p", dose) if dose else Cell(BASE, "p") for dose in doses), unrelated)


def judged(frame, facts, by_dose, *, training=None, extra=None, unrelated=(), alpha=0.05, fact=None, **changes):
    """Return the curve's verdict: ``by_dose`` maps a strength to one value a run (one picture each); the base reads 10."""
    named = {f'arm @ "p", strength {dose:g}' if dose != 1 else 'arm @ "p"': [[v] for v in runs] for dose, runs in by_dose.items() if dose}
    readings = frame({'base @ "p"': [[10.0]] * RUNS} | named)
    if extra is not None:
        readings = readings.vstack(extra)
    doses = tuple(sorted(by_dose))
    verdicts = judge(
        {"exp": experiment_of(at=doses, **changes)},
        readings,
        training={} if training is None else {("arm", "m"): training},
        instruments={"m": fact or facts(), "change": facts("change")},
        controls={},
        curves={QuestionId("exp", "curve", 0): cells_of(doses, unrelated)},
        alpha=alpha,
    )
    assert [verdict.question for verdict in verdicts] == [QuestionId("exp", "claim", 0), QuestionId("exp", "curve", 0)]
    return verdicts[1]


def test_weights_by_hand():
    # two doses: last - first. Four: places -1.5 -.5 .5 1.5, sum of squares 5, times 3 / 5
    assert trend_weights(2).tolist() == [-1, 1]
    assert trend_weights(3).tolist() == [-1, 0, 1]
    assert trend_weights(4) == pytest.approx([-0.9, -0.3, 0.3, 0.9])
    # on a straight line over the places the trend is the whole rise
    assert trend_weights(5) @ [2, 4, 6, 8, 10] == pytest.approx(8)


def test_weights_against_numpy():
    # the trend is the slope of the least-squares line over the order of the doses, times the steps from first to last
    values = np.random.default_rng(1).normal(size=(7, 5))
    for n_doses in (2, 3, 6):
        slope = np.polyfit(np.arange(n_doses), values[:n_doses], 1)[0]
        assert trend_weights(n_doses) @ values[:n_doses] == pytest.approx(slope * (n_doses - 1))


@pytest.mark.parametrize("n_runs", [4, 8])
def test_half_dose_against_scipy_on_a_grid(n_runs):
    # the interval holds the doses at which scipy's t test of y(d) - y(last) / 2 is not significant
    rng, doses = np.random.default_rng(n_runs), np.array([0.0, 0.25, 0.5, 1.0])
    effects = np.array([0.0, 2, 5, 8])[:, None] * rng.normal(1, 0.2, n_runs) + np.vstack(
        [np.zeros(n_runs), rng.normal(0, 0.7, (3, n_runs))]
    )
    grid = np.linspace(0, 1, 4001)
    curve = np.stack([np.interp(grid, doses, run) for run in effects.T], axis=1)  # (grid, runs)
    kept = grid[stats.ttest_1samp(curve - effects[-1] / 2, 0, axis=1).pvalue >= 0.05]
    found = estimate_half_dose(doses, effects, 0.95, 1e-12)
    assert (found.low, found.high) == pytest.approx((kept.min(), kept.max()), abs=5e-4)


def test_half_dose_by_hand():
    # doses 0, 1, 2; runs (0, 2, 8) and (0, 4, 8): means 3 and 8, half is 4, reached at 1 + (4 - 3) / (8 - 3) = 1.2
    found = estimate_half_dose([0, 1, 2], np.array([[0.0, 0], [2, 4], [8, 8]]), 0.5, 1e-9)
    assert found.dose == pytest.approx(1.2)
    # level .5 with 2 runs: t = 1, and the half width is |difference| / 2, so the interval runs between the two runs' own crossings:
    # run 1 reaches 4 at 1 + 2/6, run 2 at 1
    assert (found.low, found.high) == pytest.approx((1.0, 4 / 3))


def test_an_effect_that_may_be_nothing_has_no_half_dose():
    assert estimate_half_dose([0, 1], np.array([[0.0, 0, 0], [5, -4, 1]]), 0.95, 1e-9) is None


def test_runs_that_agree_leave_the_floor():
    # all runs (0, 10): half at .5; the floor of 1 is reached where |10 w - 5| <= 1
    found = estimate_half_dose([0, 1], np.array([[0.0] * 3, [10.0] * 3]), 0.95, 1.0)
    assert (found.low, found.dose, found.high) == pytest.approx((0.4, 0.5, 0.6))


def test_strength_one_is_the_whole_and_the_last_step():
    assert reference_dose("strength", (0.5, 1.0, 1.25)) == 1
    assert reference_dose("strength", (0.5, 1.25)) == 1.25
    assert reference_dose("step", (1.0, 8.0, 64.0)) == 64


def test_a_rise_is_supported_with_points_and_half_dose(frame, facts):
    found = judged(frame, facts, {0.5: [12, 12.2, 11.8, 12], 1.0: [18, 18.2, 17.9, 17.9], 1.25: [20, 20.1, 20, 19.9]})
    # trend: weights -1, 0, 1: 20 - 12 = 8
    assert (found.finding, found.verdict) == ("higher", "supported")
    assert found.contrast.effect == pytest.approx(8)
    assert [point.effect.effect for point in found.curve.points] == pytest.approx([2, 8, 10])
    # half of 8 (strength 1) is reached at .5 + .5 * (4 - 2) / 6
    assert found.curve.half.dose == pytest.approx(0.5 + 1 / 6)
    assert found.curve.half.low < found.curve.half.dose < found.curve.half.high
    assert "rises by 8 u from strength 0.5 to 1.25" in found.reason
    assert (found.cell, found.versus) == ('arm @ "p", strength 1.25', 'arm @ "p", strength 0.5')
    # one claim, one curve, the first look: .99 * .6 * .05 / 2 each; a third of it for each of three doses
    assert found.contrast.level == pytest.approx(1 - 0.01485)
    assert found.curve.points[0].effect.level == pytest.approx(1 - 0.01485 / 3)


def test_interval_of_the_trend_by_hand(frame, facts):
    # effects 6, 8, 10, 8: mean 8, sd sqrt(8 / 3). Four trainings borrow nothing: Student's t with 3 degrees at level .01485
    found = judged(frame, facts, {0.5: [12, 12, 12, 12], 1.0: [18, 20, 22, 20]})
    assert found.contrast.run_effects == pytest.approx((6, 8, 10, 8))
    assert found.contrast.high - 8 == pytest.approx(stats.t.isf(0.01485 / 2, 3) * math.sqrt(8 / 3) / 2, rel=1e-6)


def test_the_floor_of_a_trend_spans_what_a_trend_can_take(frame, facts):
    # shares at four doses that agree everywhere: weights -.9 -.3 .3 .9 move by (1.8 + .6) / 2 = 1.2 ranges, where a difference moves by 1.
    # 4 trainings of 1 picture: 1 - .01485^(1/4) = .6509
    found = judged(frame, facts, {0.25: [1] * 4, 0.5: [1] * 4, 0.75: [0] * 4, 1.0: [0] * 4}, fact=facts(kind="share", high=1.0))
    assert found.contrast.high - found.contrast.effect == pytest.approx(1.2 * (1 - 0.01485 ** (1 / 4)), rel=1e-4)


def test_a_fall_contradicts_a_rise_and_flat_is_no_change(frame, facts):
    fall = judged(frame, facts, {0.5: [18, 18.1, 18, 17.9], 1.0: [12, 12, 12.1, 11.9]})
    assert (fall.finding, fall.verdict) == ("lower", "contradicted")
    flat = judged(frame, facts, {0.5: [12, 12.1, 12, 11.9], 1.0: [12.1, 12, 12.1, 11.9]}, expect="no change")
    assert (flat.finding, flat.verdict) == ("no change", "supported")
    assert "half" not in flat.reason


def test_a_curve_that_rises_and_falls_again_is_not_called_unchanged(frame, facts):
    # the line is flat: 12, 15, 12 has the weights -1, 0, 1; the change at the middle is 3, and 1 is the smallest that counts
    there_and_back = {0.5: [12, 12.1, 12, 11.9], 0.75: [15, 15.1, 15, 14.9], 1.0: [12.1, 12, 12.1, 11.9]}
    found = judged(frame, facts, there_and_back, expect="no change")
    assert abs(found.contrast.high) < 1  # by the line alone it would be "no change"
    assert (found.finding, found.verdict, found.more_runs) == ("open", "open", None)
    assert "the line from strength 0.5 to 1 is flat" in found.reason
    # every run's change is 3: only the floor (one of 255 levels over 4 pairs) leaves a width
    assert "at strength 0.75 the change from strength 0.5 is " in found.reason
    assert "hardly settle it" in found.reason
    # a middle that stays close, but is not shown to: one run far off
    loose = judged(frame, facts, there_and_back | {0.75: [12, 12, 12, 14]}, expect="no change")
    assert (loose.finding, loose.verdict) == ("open", "open")
    assert loose.more_runs is not None
    close = judged(frame, facts, there_and_back | {0.75: [12.1, 12.2, 12.1, 12]}, expect="no change")
    assert (close.finding, close.verdict) == ("no change", "supported")
    assert "any change from strength 0.5 to 1 is smaller than 1 u" in close.reason


def test_pictures_beyond_the_training_set_are_named(frame, facts):
    # training set reads 17, the base 10: a gap of 7; at strength 1 the effect is 5, at 1.25 it is 10
    found = judged(frame, facts, {1.0: [15, 15, 15.1, 14.9], 1.25: [20, 20, 20.1, 19.9]}, training=17.0)
    assert found.curve.overshoot == (1.25,)
    assert "at strength 1.25 the pictures go beyond the training set" in found.reason


def test_dose_zero_is_the_base(frame, facts):
    found = judged(frame, facts, {0.0: [10] * 4, 1.0: [18, 18.2, 17.9, 17.9]})
    assert found.curve.points[0].effect.effect == 0
    assert found.contrast.effect == pytest.approx(8)
    assert found.curve.half.dose == pytest.approx(0.5)


def test_damage_is_read_at_the_unrelated_prompts(frame, facts):
    # mean over two prompts: at strength 1, (6 + 2) / 2 = 4
    cells = {'base @ "cat"': [[0]] * 4, 'base @ "dog"': [[0]] * 4}
    for dose, (cat, dog) in {"strength 0.5": (1, 1), "strength 1.0": (6, 2)}.items():
        cells |= {f'arm @ "cat", {dose}': [[cat]] * 4, f'arm @ "dog", {dose}': [[dog]] * 4}
    found = judged(frame, facts, {0.5: [12, 12, 12, 12.1], 1.0: [18, 18, 18, 18.1]}, extra=frame(cells, "change"), unrelated=("cat", "dog"))
    assert [point.damage.effect for point in found.curve.points] == [1, 4]
    assert (found.curve.damage_measure, found.curve.damage_prompts) == ("change", ("cat", "dog"))


def test_too_few_runs_doses_or_measurable_pictures(frame, facts):
    assert judged(frame, facts, {1.0: [18] * 4}).verdict == "not_measurable"
    half_blind = judged(frame, facts, {0.5: [12, None, None, 12], 1.0: [18] * 4})
    assert (half_blind.verdict, half_blind.curve) == ("not_measurable", None)
    assert "strength 0.5" in half_blind.reason
    two_runs = judged(frame, facts, {0.5: [12, 12], 1.0: [18, 18.5]})
    assert (two_runs.verdict, two_runs.curve) == ("open", None)


def test_json_and_back(frame, facts):
    found = judged(frame, facts, {0.5: [12, 12.2, 11.8, 12], 1.0: [18, 18.2, 17.9, 17.9]}, training=17.0)
    assert verdict_from_json(found.to_json()) == found


def test_order_of_runs_and_a_shift_of_the_base_change_nothing(frame, facts):
    values = {0.5: [12, 13, 11, 12.5], 1.0: [18, 17, 19, 16]}
    one = judged(frame, facts, values)
    turned = judged(frame, facts, {dose: runs[::-1] for dose, runs in values.items()})
    assert turned.contrast.low == pytest.approx(one.contrast.low)
    assert turned.curve.half.low == pytest.approx(one.curve.half.low)
    assert turned.curve.half.high == pytest.approx(one.curve.half.high)


def test_doses_follow_the_preset():
    curve = CurveSpec(say="?", measure="m", cell='arm @ "p"', over="step", at=(64, 8), more={"full": (16, 8)}, expect="lower")
    assert curve.doses("quick") == (8, 64)
    assert curve.doses("full") == (8, 16, 64)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"at": (-1.0,)}, "not a valid dose"),
        ({"at": (5.0,)}, "strengths from 0"),
        ({"over": "step", "at": (1.5,)}, "whole steps"),
        ({"at": ()}, "needs doses"),
        ({"cell": 'arm @ "p", strength 0.5'}, "without strength"),
        ({"cell": 'base @ "p"'}, "an arm at a prompt"),
    ],
)
def test_impossible_curves_are_refused(changes, complaint):
    fields = {"say": "?", "measure": "m", "cell": 'arm @ "p"', "over": "strength", "at": (1.0,), "expect": "higher"}
    with pytest.raises(ValueError, match=complaint):
        CurveSpec(**(fields | changes))


def test_a_plan_counts_curves_as_claims(facts):
    plans = plan_claims(
        {"exp": experiment_of(at=(0.5, 1.0))}, replicates={"arm": 8}, seeds=4, instruments={"m": facts()},
        run_sds={"m": RunSd(1.0, 4, 0, "assumed")},
    )  # fmt: skip
    assert [plan.m_claims for plan in plans] == [2, 2]
    assert plans[1].sd_runs == pytest.approx(math.sqrt(2))


# --- how often the intervals hold -----------------------------------------------------------------------------------------


def half_dose_hits(rng, n, n_runs, run_sd, noise, level, break_it=False):
    """Return (intervals that hold the truth, intervals given): a saturating mean curve, runs that differ in size and by noise."""
    doses, mean = np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.array([0.0, 1.0, 4.0, 7.0, 8.0])
    truth = 0.5  # the straight lines between the mean's points reach 4 there
    hits = given = 0
    for _ in range(n):
        size = rng.normal(1, run_sd, n_runs)
        effects = mean[:, None] * size + np.vstack([np.zeros(n_runs), rng.normal(0, noise, (4, n_runs))])
        if break_it:  # a wrong twin: half of something larger than the last dose's effect
            effects = np.vstack([effects[:-1], effects[-1] * 1.5])
        found = estimate_half_dose(doses, effects, level, 1e-9)
        if found is not None:
            given += 1
            hits += found.low <= truth <= found.high
    return hits, given


@pytest.mark.parametrize(("n_runs", "run_sd", "noise"), [(4, 0.3, 0.5), (8, 0.3, 1.0), (8, 0.5, 1.5)])
def test_the_interval_of_the_half_dose_covers(n_runs, run_sd, noise):
    rng, n = np.random.default_rng([20_260_711, n_runs, int(10 * run_sd)]), 2000
    hits, given = half_dose_hits(rng, n, n_runs, run_sd, noise, 0.95)
    print(f"\n  half dose, {n_runs} runs, spread {run_sd}, noise {noise}: {hits} of {given} = {hits / given:.1%}", end="")
    low, high = stats.binom.interval(1 - 1e-4, given, 0.95)
    assert given > 0.97 * n
    assert low <= hits <= high


def test_a_wrong_half_is_caught():
    hits, given = half_dose_hits(np.random.default_rng(3), 1000, 8, 0.3, 1.0, 0.95, break_it=True)
    assert hits < stats.binom.ppf(1e-4, given, 0.95)

"""Pictures and trainings that are missing, could not be measured, or are the same on both sides."""

from __future__ import annotations

import polars as pl
import pytest

from loralab.infer.judge import judge
from tests.support.judged import ARM, BASE, BASE_RUNS, FLAT, PLACEBO, WOBBLE, cells, runs


def test_an_instrument_that_is_not_carried(decide):
    verdict = decide(cells(5), carried=False, note="shapes below 12 px")
    assert (verdict.verdict, verdict.finding, verdict.contrast) == ("not_measurable", None, None)
    assert verdict.reason == "m does not work at this base's picture size: shapes below 12 px"
    assert verdict.controls[0].status == "not_measurable"


@pytest.mark.parametrize("side", [ARM, BASE])
def test_a_continuous_claim_needs_85_percent_on_both_sides(decide, side):
    given = cells(5)
    given[side] = [[None, None], [None, given[side][1][1]], *given[side][2:]]  # 13 of 16 = 81 %
    verdict = decide(given)
    assert (verdict.verdict, verdict.contrast) == ("not_measurable", None)
    assert f"too few pictures could be measured: 81% of {side}; 85% are needed" in verdict.reason


def test_exactly_85_percent_is_enough(decide):
    twenty = [[30.0 + r + i / 7 for i in range(5)] for r in range(4)]
    arm = [[value + 20 + r / 10 for value in run] for r, run in enumerate(twenty)]
    arm[0][0] = arm[1][0] = arm[2][0] = None  # 17 of 20
    verdict = decide({ARM: arm, BASE: twenty, PLACEBO: twenty})
    assert (verdict.verdict, verdict.measurable_cell) == ("supported", 0.85)
    assert verdict.contrast.n_images == 17


def test_a_share_counts_an_unmeasurable_picture_as_no(decide):
    ones, zeros = [[1.0] * 4] * 8, [[0.0] * 4] * 8
    half = [[1.0, 1.0, None, None]] * 8
    verdict = decide({ARM: ones, BASE: half, PLACEBO: zeros}, {"margin_absolute": 0.2}, kind="share", high=1.0)
    assert (verdict.cell_mean, verdict.versus_mean, verdict.measurable_versus) == (1.0, 0.5, 0.5)
    assert verdict.contrast.effect == pytest.approx(0.5)
    assert verdict.verdict == "supported"
    assert verdict.reason.endswith("; note that 100% of the pictures could be measured against 50%, and counts as a no where it could not")


def test_shares_that_agree_everywhere_keep_a_width(decide):
    ones, zeros = [[1.0] * 4] * 8, [[0.0] * 4] * 8
    learned = decide({ARM: ones, BASE: zeros, PLACEBO: zeros}, {"margin_absolute": 0.2}, kind="share", high=1.0)
    # 8 trainings of 4: 24.615 independent pairs at the assumed likeness; 1 - .0297^(1/24.615) = .1331 at least, and no share changes
    # by more than 1
    assert (learned.contrast.low, learned.contrast.high) == pytest.approx((0.8669, 1.0), abs=2e-3)
    assert 1 - learned.contrast.low >= 0.1331
    assert learned.verdict == "supported"
    nothing = {ARM: zeros, BASE: zeros, PLACEBO: zeros}
    assert decide(nothing, {"margin_absolute": 0.15, "expect": "no change"}, kind="share", high=1.0).verdict == "supported"
    narrow = decide(nothing, {"margin_absolute": 0.1, "expect": "no change"}, kind="share", high=1.0)
    assert (narrow.verdict, narrow.finding) == ("open", "open")
    assert narrow.contrast.high > 0.1


def test_readings_that_agree_keep_the_instruments_own_width(decide):
    # every training moves every picture by 1: error 2 on a picture, 16 pairs: 2 * sqrt 2 / 4 = .7071 around 1
    verdict = decide(
        {ARM: runs(1, wobble=FLAT), BASE: BASE_RUNS, PLACEBO: BASE_RUNS}, {"margin_absolute": 2.0, "expect": "no change"}, error=2.0
    )
    assert (verdict.contrast.low, verdict.contrast.high) == pytest.approx((0.2929, 1.7071), abs=1e-4)
    assert verdict.verdict == "supported"


@pytest.mark.parametrize(("expect", "ruling"), [("no change", "supported"), ("higher", "contradicted"), ("lower", "contradicted")])
def test_the_same_pictures_are_their_own_answer(decide, expect, ruling):
    # strength 0 is the base: every reading of every picture is the same
    verdict = decide({ARM: BASE_RUNS, BASE: BASE_RUNS, PLACEBO: BASE_RUNS}, {"expect": expect}, error=2.0)
    assert (verdict.finding, verdict.verdict, verdict.contrast) == ("nothing differs", ruling, None)
    assert verdict.reason == "nothing differs: both sides are the same pictures"


def test_no_circle_in_either_picture_does_not_make_them_the_same(frame, experiment, facts):
    zeros, args = [[0.0] * 4] * 8, {"training": {}, "controls": {}}
    same = frame({ARM: zeros, BASE: zeros})
    share = facts(kind="share", high=1.0)
    claim = {"expect": "no change", "margin_absolute": 0.2}
    alone = judge(experiment(claim), same, instruments={"m": share}, **args)[0]
    assert (alone.finding, alone.verdict) == ("no change", "supported")
    assert alone.contrast.low < 0 < alone.contrast.high
    other = frame({ARM: runs(5), BASE: BASE_RUNS}, measure="n")  # another instrument shows that they differ
    assert judge(experiment(claim), pl.concat([same, other]), instruments={"m": share}, **args)[0].finding == "no change"


def test_two_names_for_the_same_trainings_are_not_judged(decide):
    given = {ARM: runs(5), 'other @ "p"': runs(5), BASE: BASE_RUNS}
    verdict = decide(given, {"versus": 'other @ "p"'}, placebo=None)
    assert (verdict.finding, verdict.verdict, verdict.contrast) == (None, "not_measurable", None)
    assert verdict.reason.startswith("arm and other are the same trainings under two names")


def test_a_strength_of_0_is_the_base_whatever_is_read(frame, experiment, facts):
    zeros = [[0.0] * 4] * 8
    readings = frame({'arm @ "p", strength 0': zeros, BASE: zeros})
    claim = {"cell": 'arm @ "p", strength 0', "expect": "higher"}
    verdict = judge(experiment(claim), readings, training={}, instruments={"m": facts(kind="share", high=1.0)}, controls={})[0]
    assert (verdict.finding, verdict.verdict) == ("nothing differs", "contradicted")


@pytest.mark.parametrize(("n_runs", "told"), [(0, "no training can be compared"), (1, "only one training"), (2, "only 2 trainings")])
def test_below_three_runs_there_is_no_verdict(decide, n_runs, told):
    given = {ARM: [*runs(5)[:n_runs], *[None] * (8 - n_runs)], BASE: BASE_RUNS, PLACEBO: runs(0)} if n_runs else {BASE: BASE_RUNS}
    verdict = decide(given)
    assert (verdict.verdict, verdict.finding, verdict.contrast, verdict.more_runs) == ("open", None, None, 3)
    assert told in verdict.reason
    assert (verdict.cell_mean is None) == (n_runs == 0)


def test_failed_runs_are_left_out_and_counted(decide):
    given = cells(5)
    given[ARM] = [None, *given[ARM][1:7], None]
    given[PLACEBO] = [*given[PLACEBO][:3], None, *given[PLACEBO][4:]]
    verdict = decide(given)
    assert (verdict.contrast.n_runs, verdict.n_excluded_runs) == (6, 2)
    assert verdict.controls[0].contrast.n_runs == 5
    assert verdict.contrast.run_effects == pytest.approx(5 + WOBBLE[1:7])


def test_a_run_that_both_arms_lost_is_counted_through_the_base(decide):
    arm, other = runs(5), runs(0, wobble=FLAT)
    arm[2] = other[2] = None
    verdict = decide({ARM: arm, 'other @ "p"': other, BASE: BASE_RUNS}, {"versus": 'other @ "p"'}, placebo=None)
    assert (verdict.contrast.n_runs, verdict.n_excluded_runs) == (7, 1)

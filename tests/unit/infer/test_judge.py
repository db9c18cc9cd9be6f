"""The rule, branch by branch: finding, verdict, margins, controls, refusals, and the sentence beside them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from loralab.errors import LabError
from loralab.infer.judge import ControlCells, InstrumentFacts, judge
from loralab.infer.known import BaseKnown
from loralab.infer.looks import look_levels
from loralab.spec.cells import Cell
from loralab.spec.questions import QuestionId
from loralab.spec.sources import BaseSource

ARM, BASE, PLACEBO = 'arm @ "p"', 'base @ "p"', 'placebo @ "p"'
PLACEBO_CELL = Cell("placebo", "p")
#: effects of 8 trainings: mean 0, sum of squares 7.5, sd 1.0351, standard error .3660. At the first look of 8 trainings the level for one
#: claim is .0297; the pictures of a training agree exactly, so that the prior adds only degrees of freedom: d = 1 / (1/4 + 1/8) = 2.667,
#: nu = 9.667, t = 2.5476: a half width of .9324.
WOBBLE = np.array([-1.5, -1, -0.5, -0.5, 0.5, 0.5, 1, 1.5])
HALF = 0.9324


def runs(effect: float, n_runs: int = 8, wobble=WOBBLE) -> list[list[float]]:
    """Two pictures a run, which differ by the seed's own level."""
    return [[30 + seed_level + effect + wobble[r] for seed_level in (r, -r)] for r in range(n_runs)]


FLAT = np.zeros(8)
BASE_RUNS = runs(0, wobble=FLAT)


@pytest.fixture
def decide(frame, experiment, facts):
    """Return the only verdict of a claim about cells of readings."""

    def decide(cells, claim=None, *, training=None, placebo=PLACEBO_CELL, no_trigger=None, alpha=0.05, **instrument):
        return judge(
            experiment(claim or {}),
            frame(cells),
            training={} if training is None else {("arm", "m"): training},
            instruments={"m": facts(**instrument)},
            controls={QuestionId("exp", "claim", 0): ControlCells(placebo, no_trigger)},
            alpha=alpha,
        )[0]

    return decide


def cells(effect: float, placebo: float | None = 0.0, **more):
    given = {ARM: runs(effect), BASE: BASE_RUNS}
    if placebo is not None:
        given[PLACEBO] = runs(placebo, wobble=FLAT)
    return given | more


def test_everything_in_a_supported_verdict(decide):
    verdict = decide(cells(5), {"article": "learned"})
    assert (verdict.finding, verdict.verdict) == ("higher", "supported")
    assert verdict.contrast.effect == pytest.approx(5)
    assert verdict.contrast.low == pytest.approx(5 - HALF, abs=1e-3)
    assert verdict.contrast.high == pytest.approx(5 + HALF, abs=1e-3)
    assert (verdict.contrast.n_runs, verdict.contrast.n_images, verdict.contrast.level) == (8, 16, pytest.approx(1 - 0.0297))
    assert verdict.contrast.p_sign_flip == pytest.approx(2 / 256)
    assert verdict.contrast.run_effects == pytest.approx(5 + WOBBLE)
    assert (verdict.cell, verdict.versus, verdict.say, verdict.expect) == (ARM, BASE, "it is learned", "higher")
    assert (verdict.cell_mean, verdict.versus_mean) == pytest.approx((35, 30))
    assert (verdict.measurable_cell, verdict.measurable_versus, verdict.n_excluded_runs) == (1, 1, 0)
    assert (verdict.margin, verdict.margin_source, verdict.more_runs, verdict.exploratory) == (1, "given", None, False)
    assert verdict.reason == "higher by 5 u (4.07 to 5.93 u, 8 trainings), where 1 u is the smallest that counts, and more than the placebo"
    assert verdict.found == "higher by 4.07 to 5.93 u"
    assert verdict.chance is None
    assert (verdict.experiment, verdict.index, verdict.article) == ("exp", 0, "learned")


@pytest.mark.parametrize(
    ("expect", "effect", "finding", "ruling"),
    [
        ("higher", 5, "higher", "supported"),
        ("higher", -5, "lower", "contradicted"),
        ("higher", 0, "no change", "contradicted"),
        ("lower", -5, "lower", "supported"),
        ("lower", 5, "higher", "contradicted"),
        ("lower", 0, "no change", "contradicted"),
        ("no change", 0, "no change", "supported"),
        ("no change", 5, "higher", "contradicted"),
        ("no change", -5, "lower", "contradicted"),
        ("higher", 1.2, "some higher", "leaning"),
        ("higher", -1.2, "some lower", "contradicted"),
        ("lower", -1.2, "some lower", "leaning"),
        ("lower", 1.2, "some higher", "contradicted"),
        ("no change", 1.2, "some higher", "open"),
        ("higher", 0.5, "no drop", "open"),
        ("higher", -0.5, "not higher", "contradicted"),
        ("lower", 0.5, "not lower", "contradicted"),
        ("lower", -0.5, "no rise", "open"),
        ("no change", 0.5, "no drop", "open"),
    ],
)
def test_finding_against_expectation(decide, expect, effect, finding, ruling):
    verdict = decide(cells(effect), {"expect": expect})
    assert (verdict.finding, verdict.verdict) == (finding, ruling)


def test_a_wide_interval_is_open_and_says_what_would_tell(decide):
    # four times the wobble: half width 3.73; seen at 1.8 with a margin of 1. At 32 trainings the half width is about half of that, 1.7, and
    # the estimate moves by .366 * 4 * sqrt(1 - 8 / 32) = 1.27
    wide = {ARM: runs(1.8, wobble=4 * WOBBLE), BASE: BASE_RUNS, PLACEBO: runs(0, wobble=FLAT)}
    verdict = decide(wide)
    assert (verdict.finding, verdict.verdict) == ("open", "open")
    assert verdict.reason.startswith(
        "can't tell yet: the change is somewhere from -1.93 to 5.53 u, 8 trainings, and the smallest that counts is 1 u; "
    )
    assert verdict.reason.endswith(f"24 more trainings may settle it (chance {verdict.chance:.0%})")
    assert verdict.more_runs == 32
    assert 0.1 < verdict.chance < 0.5
    assert verdict.found == "open (-1.93 to 5.53 u; 1 u counts)"


def test_a_direction_is_told_before_its_size(decide):
    verdict = decide(cells(1.8))
    assert (verdict.finding, verdict.verdict) == ("some higher", "leaning")
    assert verdict.reason.startswith("certainly higher (0.868 to 2.73 u, 8 trainings); not yet clear whether by more than 1 u: ")
    assert verdict.reason.endswith("8 more trainings would probably settle it")
    assert verdict.found == "higher, size not settled (0.868 to 2.73 u; 1 u counts)"


def test_a_direction_needs_the_level_of_the_whole_study(frame, experiment, facts):
    # an interval of .2 to 2.1 leaves out 0 among the claims of its own experiment; among 40 of the study, of other experiments, it does not
    readings, args = frame(cells(1.15)), {"training": {}, "instruments": {"m": facts()}}
    controls = {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None)}
    alone = judge(experiment({}), readings, controls=controls, **args)[0]
    many = experiment({}) | {f"other-{i}": experiment({})["exp"] for i in range(39)}
    among = judge(many, readings, controls=controls, **args)[0]
    assert (alone.finding, among.finding) == ("some higher", "no drop")
    assert (alone.contrast.low, alone.contrast.high) == (among.contrast.low, among.contrast.high)
    assert among.contrast.sure_low < 0 < alone.contrast.sure_low


def test_a_no_beside_an_interval_that_excludes_zero_says_so(decide):
    steady = {ARM: runs(0.5, wobble=0.2 * WOBBLE), BASE: BASE_RUNS, PLACEBO: runs(0, wobble=FLAT)}
    verdict = decide(steady)
    assert verdict.contrast.low > 0
    assert (verdict.finding, verdict.verdict) == ("no change", "contradicted")
    assert verdict.reason == "yes, but too small to count: 0.314 to 0.686 u, 8 trainings, where 1 u is the smallest that counts"
    assert verdict.found == "yes, but too small to count (0.314 to 0.686 u; 1 u counts)"


def test_an_effect_as_large_as_the_margin_is_hopeless(frame, experiment, facts):
    # among three claims t is about 3: the half width at 32 trainings is 1.5 standard errors of now, the estimate moves by .87
    controls = {QuestionId("exp", "claim", i): ControlCells(PLACEBO_CELL, None) for i in range(3)}
    claims = experiment(*[{"expect": "no change"}] * 3)
    verdict = judge(claims, frame(cells(1.0)), training={}, instruments={"m": facts()}, controls=controls)[0]
    assert (verdict.more_runs, verdict.verdict) == (None, "open")
    assert verdict.chance < 0.1
    assert "more trainings would hardly settle it, as the change is about as large as the smallest that counts" in verdict.reason


def test_minutes_stand_beside_the_trainings_that_would_tell(frame, experiment, facts):
    args = {"training": {}, "instruments": {"m": facts()}, "controls": {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None)}}
    verdict = judge(experiment({}), frame(cells(1.8)), minutes={"arm": 0.4}, **args)[0]
    assert verdict.more_minutes == pytest.approx(8 * 0.4)
    assert verdict.reason.endswith("8 more trainings, 3 minutes, would probably settle it")
    assert judge(experiment({}), frame(cells(1.8)), minutes={}, **args)[0].more_minutes is None


def test_no_interval_of_a_share_reaches_beyond_what_a_share_can_change(frame, experiment, facts):
    # every picture of the arm holds it and none of the base: the rule of three alone would reach to 1.2 and more
    all_of, none = [[1.0] * 6] * 8, [[0.0] * 6] * 8
    share = facts(kind="share", low=0.0, high=1.0, unit="share")
    claims = experiment(
        {"margin_absolute": 0.1}, {"margin_absolute": 0.1, "cell": 'placebo @ "p"', "versus": 'arm @ "p"', "expect": "lower"}
    )
    readings = frame({ARM: all_of, BASE: none, PLACEBO: none})
    up, down = judge(claims, readings, training={}, instruments={"m": share}, controls={})
    assert up.contrast.effect == up.contrast.high == up.contrast.sure_high == 1.0
    assert down.contrast.low == down.contrast.sure_low == -1.0
    assert 0.5 < up.contrast.sure_low <= up.contrast.low < 1.0


def test_level_is_shared_by_the_claims_of_the_experiment(frame, experiment, facts):
    readings = frame(cells(5))
    for n_claims in (1, 3):
        controls = {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None)}
        claims = experiment(*[{}] * n_claims)
        verdicts = judge(claims, readings, training={}, instruments={"m": facts()}, controls=controls, alpha=0.03)
        level = 1 - look_levels(n_claims, 0.03)[0]  # of it, .6 are spent at 8 trainings
        assert level == pytest.approx(1 - 0.99 * 0.6 * 0.03 / n_claims)
        assert [v.contrast.level for v in verdicts] == [pytest.approx(level)] * n_claims
        assert [v.index for v in verdicts] == list(range(n_claims))
        assert verdicts[0].controls[0].contrast.level == pytest.approx(level)


# --- controls ---------------------------------------------------------------------------------------------------------


def test_a_change_that_the_placebo_shows_too_is_not_learned(decide):
    verdict = decide(cells(5, placebo=4.8))
    assert (verdict.finding, verdict.verdict) == ("no drop", "open")
    (check,) = verdict.controls
    assert (check.name, check.required, check.status, check.against) == ("placebo", True, "failed", PLACEBO)
    assert check.contrast.effect == pytest.approx(0.2)
    assert verdict.contrast.low > verdict.margin  # the change itself stays visible
    assert verdict.found == "a change, but training on the base's own pictures may do as much"
    assert "but training on the base's own pictures may do as much (-0.732 to 1.13 u more than the placebo)" in verdict.reason


def test_the_placebo_must_be_exceeded_in_the_direction_of_the_finding(decide):
    # the arm falls by 5, the placebo by 8: lower than the base, but not lower than the placebo
    falls = decide(cells(-5, placebo=-8), {"expect": "lower"})
    assert (falls.finding, falls.verdict, falls.controls[0].status, falls.more_runs) == ("no rise", "open", "failed", None)
    passes = decide(cells(-5, placebo=-2), {"expect": "lower"})
    assert (passes.finding, passes.verdict, passes.controls[0].status) == ("lower", "supported", "passed")


def test_without_a_placebo_nothing_is_called_learned(decide):
    no_arm = decide(cells(5), placebo=None)
    assert (no_arm.finding, no_arm.verdict) == ("no drop", "open")
    assert (no_arm.controls[0].status, no_arm.controls[0].against, no_arm.controls[0].contrast) == ("not_run", "", None)
    no_pictures = decide(cells(5, placebo=None))
    assert (no_pictures.controls[0].status, no_pictures.controls[0].against, no_pictures.verdict) == ("not_run", PLACEBO, "open")
    assert "there is no placebo to compare it with" in no_pictures.reason


def test_a_placebo_that_cannot_be_measured_blocks(decide):
    given = cells(5)
    given[PLACEBO] = [[None, None], *given[PLACEBO][1:], [None, None]][:8]
    given[PLACEBO][7] = [None, None]
    verdict = decide(given)
    assert (verdict.controls[0].status, verdict.verdict) == ("not_measurable", "open")
    assert "too few of the placebo's pictures could be measured" in verdict.reason


def test_no_change_does_not_wait_for_the_placebo(decide):
    verdict = decide(cells(0, placebo=None), {"expect": "higher"})
    assert (verdict.finding, verdict.verdict) == ("no change", "contradicted")


def test_the_placebo_is_shown_but_not_required_between_arms(decide):
    given = {ARM: runs(5), 'other @ "p"': BASE_RUNS, BASE: BASE_RUNS, PLACEBO: runs(5, wobble=FLAT)}
    verdict = decide(given, {"versus": 'other @ "p"'})
    assert (verdict.finding, verdict.verdict) == ("higher", "supported")
    assert [(c.required, c.status) for c in verdict.controls] == [(False, "failed")]
    assert "yet training on the base's own pictures may do as much" in verdict.reason


def test_the_placebo_is_shown_but_not_required_where_no_change_is_expected(decide):
    verdict = decide(cells(5, placebo=5), {"expect": "no change"})
    assert (verdict.finding, verdict.verdict) == ("higher", "contradicted")
    assert [(c.required, c.status) for c in verdict.controls] == [(False, "failed")]


def test_the_placebo_is_not_held_against_itself(decide):
    verdict = decide(cells(5), {"versus": PLACEBO})
    assert verdict.controls == ()
    assert verdict.verdict == "supported"


@pytest.mark.parametrize(
    ("without", "status", "ruling"),
    [(0.0, "passed", "supported"), (4.9, "failed", "open"), (7.0, "failed", "open")],
)
def test_a_trigger_claim_must_exceed_the_change_without_the_trigger(decide, without, status, ruling):
    other = {'arm @ "q"': runs(without - 6, wobble=FLAT), 'base @ "q"': runs(-6, wobble=FLAT)}  # the base itself is 6 lower at q
    verdict = decide(cells(5) | other, {"needs_trigger": True}, no_trigger=Cell("arm", "q"))
    assert verdict.verdict == ruling
    check = verdict.controls[1]
    assert (check.name, check.required, check.status, check.against) == ("trigger", True, status, 'arm @ "q"')
    assert check.contrast.effect == pytest.approx(5 - without)


def test_a_trigger_check_that_is_not_needed_is_shown(decide):
    other = {'arm @ "q"': runs(5), 'base @ "q"': BASE_RUNS}
    verdict = decide(cells(5) | other, no_trigger=Cell("arm", "q"))
    assert verdict.verdict == "supported"
    assert [(c.name, c.required, c.status) for c in verdict.controls] == [("placebo", True, "passed"), ("trigger", False, "failed")]
    assert "yet the pictures may change as much without the trigger" in verdict.reason


@pytest.mark.parametrize(("without", "status"), [(5.0, "not_run"), (0.0, "passed")])
def test_a_check_that_only_illustrates_speaks_of_fewer_trainings_only_where_it_is_passed(decide, without, status):
    # four trainings that do not show more say nothing against a claim of eight
    other = {'arm @ "q"': runs(without)[:4], 'base @ "q"': BASE_RUNS[:4]}
    verdict = decide(cells(5) | other, no_trigger=Cell("arm", "q"))
    assert (verdict.verdict, verdict.controls[1].status) == ("supported", status)
    assert "yet the pictures may change" not in verdict.reason
    needed = decide(cells(5) | other, {"needs_trigger": True}, no_trigger=Cell("arm", "q"))
    assert needed.controls[1].status == ("failed" if status == "not_run" else "passed")


def test_a_trigger_claim_without_such_pictures_is_open(decide):
    verdict = decide(cells(5), {"needs_trigger": True})
    assert (verdict.verdict, verdict.controls[1].status) == ("open", "not_run")
    assert "no pictures without the trigger" in verdict.reason


# --- margins and gaps -------------------------------------------------------------------------------------------------


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


# --- what cannot be measured ------------------------------------------------------------------------------------------


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


# --- runs -------------------------------------------------------------------------------------------------------------


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


# --- transfer ---------------------------------------------------------------------------------------------------------


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


# --- readings and facts -----------------------------------------------------------------------------------------------


def test_an_instrument_without_facts_is_an_error(frame, experiment):
    with pytest.raises(LabError, match="exp: no facts about the instrument m"):
        judge(experiment({}), frame(cells(5)), training={}, instruments={}, controls={})


@pytest.mark.parametrize("broken", [{"low": 1.0, "high": 1.0}, {"error": -1.0}, {"bias": float("nan")}, {"high": float("inf")}])
def test_facts_must_be_numbers(facts, broken):
    with pytest.raises(LabError, match="m: range"):
        facts(**broken)


def test_other_instruments_and_prompts_do_not_leak_in(decide, frame, experiment, facts):
    readings = pl.concat([frame(cells(5)), frame(cells(-40), measure="n"), frame({'arm @ "other"': runs(99)})])
    args = {"training": {}, "instruments": {"m": facts()}, "controls": {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None)}}
    assert judge(experiment({}), readings, **args) == judge(experiment({}), frame(cells(5)), **args)


def test_facts_are_frozen():
    with pytest.raises(AttributeError):
        InstrumentFacts("m", "share", 0, 1, "", 0, 0, True, "").low = 1  # type: ignore[misc]


# --- finer points -----------------------------------------------------------------------------------------------------


def test_a_difference_of_differences_has_a_wider_floor(decide):
    ones, zeros = [[1.0] * 4] * 8, [[0.0] * 4] * 8
    given = {ARM: ones, BASE: zeros, PLACEBO: zeros, 'arm @ "q"': zeros, 'base @ "q"': zeros}
    claim = {"margin_absolute": 0.2, "needs_trigger": True}
    verdict = decide(given, claim, no_trigger=Cell("arm", "q"), kind="share", high=1.0)
    # four readings a pair may move the difference by twice the range: 2 * .1331
    assert verdict.controls[1].contrast.low == pytest.approx(1 - 2 * 0.1331, abs=1e-4)
    # other readings: four errors of 2 in place of two, 2 * sqrt 4 / sqrt 16 = 1 where the claim itself has .7071
    moved = runs(3, wobble=FLAT)
    same = {ARM: moved, BASE: BASE_RUNS, PLACEBO: BASE_RUNS, 'arm @ "q"': BASE_RUNS, 'base @ "q"': BASE_RUNS}
    verdict = decide(same, no_trigger=Cell("arm", "q"), error=2.0)
    assert verdict.contrast.high == pytest.approx(3.7071, abs=1e-4)
    assert verdict.controls[1].contrast.high == pytest.approx(4.0)


def test_a_placebo_of_another_recipe_is_said_not_to_count(frame, experiment, facts):
    controls = {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None, placebo_differs=("learning rate (0.016 against 0.002)",))}
    verdict = judge(experiment({}), frame(cells(5)), training={}, instruments={"m": facts()}, controls=controls)[0]
    assert (verdict.verdict, verdict.controls[0].status, verdict.controls[0].contrast) == ("open", "other_recipe", None)
    assert "with a different recipe: learning rate (0.016 against 0.002), so it is not a valid control here" in verdict.reason


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


def test_a_wide_gap_downwards_has_a_transfer_too(decide):
    base = np.random.default_rng(20_260_711).normal(30, 3, (8, 25))
    given = {ARM: (base - 5 + WOBBLE[:, None]).tolist(), BASE: base.tolist(), PLACEBO: base.tolist()}
    verdict = decide(given, {"expect": "lower"}, training=10.0)
    assert verdict.gap < 0
    assert verdict.transfer == pytest.approx(-5 / verdict.gap)


def test_a_run_that_both_arms_lost_is_counted_through_the_base(decide):
    arm, other = runs(5), runs(0, wobble=FLAT)
    arm[2] = other[2] = None
    verdict = decide({ARM: arm, 'other @ "p"': other, BASE: BASE_RUNS}, {"versus": 'other @ "p"'}, placebo=None)
    assert (verdict.contrast.n_runs, verdict.n_excluded_runs) == (7, 1)


def test_a_failed_control_says_what_would_tell(decide):
    # the placebo's difference is .9 with a half width of .9324; at 16 trainings it is about .64
    verdict = decide(cells(5, placebo=4.1))
    assert (verdict.finding, verdict.more_runs) == ("no drop", 16)
    assert verdict.reason.endswith("8 more trainings would probably settle it")


def test_the_gap_leaves_out_base_pictures_that_could_not_be_measured(decide):
    # 14 of 16 base pictures are measured, all but run 7's pair 37 and 23; their mean stays 30, so that the gap to 42 is 12
    base = [*BASE_RUNS[:7], [None, None]]
    verdict = decide({ARM: runs(5), BASE: base, PLACEBO: BASE_RUNS}, {"margin_absolute": None}, training=42.0)
    assert verdict.measurable_versus == pytest.approx(14 / 16)
    assert verdict.gap == pytest.approx(12)

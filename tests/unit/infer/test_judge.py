"""The rule, branch by branch: finding, verdict, refusals, and the sentence beside them."""

from __future__ import annotations

import polars as pl
import pytest

from loralab.errors import LabError
from loralab.infer.judge import ControlCells, InstrumentFacts, judge
from loralab.infer.looks import look_levels
from loralab.spec.questions import QuestionId
from tests.support.judged import ARM, BASE, BASE_RUNS, FLAT, HALF, PLACEBO, PLACEBO_CELL, WOBBLE, cells, runs


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

"""What stands beside a claim: the placebo, the prompt without the trigger, and what becomes of a verdict where they do as much."""

from __future__ import annotations

import pytest

from loralab.infer.judge import ControlCells, judge
from loralab.spec.cells import Cell
from loralab.spec.questions import QuestionId
from tests.support.judged import ARM, BASE, BASE_RUNS, FLAT, PLACEBO, PLACEBO_CELL, cells, runs


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


def test_a_placebo_of_another_recipe_is_said_not_to_count(frame, experiment, facts):
    controls = {QuestionId("exp", "claim", 0): ControlCells(PLACEBO_CELL, None, placebo_differs=("learning rate (0.016 against 0.002)",))}
    verdict = judge(experiment({}), frame(cells(5)), training={}, instruments={"m": facts()}, controls=controls)[0]
    assert (verdict.verdict, verdict.controls[0].status, verdict.controls[0].contrast) == ("open", "other_recipe", None)
    assert "with a different recipe: learning rate (0.016 against 0.002), so it is not a valid control here" in verdict.reason


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


@pytest.mark.parametrize(("without", "status"), [(5.0, "too_few"), (0.0, "passed")])
def test_a_check_that_only_illustrates_says_where_its_trainings_are_too_few(decide, without, status):
    # four trainings that do not show more say nothing against a claim of eight
    other = {'arm @ "q"': runs(without)[:4], 'base @ "q"': BASE_RUNS[:4]}
    verdict = decide(cells(5) | other, no_trigger=Cell("arm", "q"))
    assert (verdict.verdict, verdict.controls[1].status) == ("supported", status)
    assert verdict.controls[1].contrast.n_runs == 4  # what was drawn is shown with its interval
    assert "yet the pictures may change" not in verdict.reason
    needed = decide(cells(5) | other, {"needs_trigger": True}, no_trigger=Cell("arm", "q"))
    assert needed.controls[1].status == ("failed" if status == "too_few" else "passed")


def test_one_training_that_is_missing_hides_no_check(decide):
    other = {'arm @ "q"': runs(5)[:7], 'base @ "q"': BASE_RUNS[:7]}
    verdict = decide(cells(5) | other, no_trigger=Cell("arm", "q"))
    assert verdict.controls[1].status == "failed"


def test_a_trigger_claim_without_such_pictures_is_open(decide):
    verdict = decide(cells(5), {"needs_trigger": True})
    assert (verdict.verdict, verdict.controls[1].status) == ("open", "not_run")
    assert "no pictures without the trigger" in verdict.reason


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


def test_a_failed_control_says_what_would_tell(decide):
    # the placebo's difference is .9 with a half width of .9324; at 16 trainings it is about .64
    verdict = decide(cells(5, placebo=4.1))
    assert (verdict.finding, verdict.more_runs) == ("no drop", 16)
    assert verdict.reason.endswith("8 more trainings would probably settle it")

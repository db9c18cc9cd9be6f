"""The plan's sentence about each claim: what the budget finds, from which gap on, and why not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from loralab.infer.power import RunSd, decidable_effect, decidable_no_change, load_run_sds, plan_claims
from loralab.spec.questions import QuestionId

SD = {"m": RunSd(2.0, 4, 0, "assumed")}
REPLICATES = {"arm": 8, "other": 6, "placebo": 8}


@pytest.fixture
def plan(experiment, facts):
    def plan(claim=None, *, gap=None, seeds=4, spread=SD, replicates=REPLICATES, **instrument):
        return plan_claims(
            experiment(claim or {}),
            replicates=replicates,
            seeds=seeds,
            instruments={"m": facts(**instrument)},
            gaps={QuestionId("exp", "claim", 0): gap},
            run_sds=spread,
        )[0]

    return plan


def test_a_claim_between_arms_by_hand(plan):
    # no control is required; 6 runs of the smaller arm, margin 1; both sides are trained, each spreads by 2 against the base: sqrt(8)
    row = plan({"versus": 'other @ "p"'}, gap=20.0)
    assert row.n_runs == 6
    assert row.effect == pytest.approx(decidable_effect(math.sqrt(8), 6, 1, 1.0))
    assert row.effect_gap == pytest.approx(row.effect / 20)
    assert (row.decidable, row.sd_runs, row.sd_source, row.margin, row.gap) == (True, math.sqrt(8), "assumed", 1.0, 20.0)
    assert row.reason == f"a change of {row.effect:.3g} u is found"


def test_a_learned_claim_must_also_beat_its_placebo(plan):
    # both at 90 %, so that both together hold at 80 %: margin 1 + own, and the placebo's difference with sqrt(2) the spread
    own = decidable_effect(2.0, 8, 1, 1.0, power=0.9)
    placebo = decidable_effect(2.0 * math.sqrt(2), 8, 1, 0.0, power=0.9)
    assert plan().effect == pytest.approx(max(own, placebo))
    third = plan({"needs_trigger": True})
    assert third.effect > plan().effect


def test_no_change_by_hand(plan):
    smallest = decidable_no_change(2.0, 8, 1)
    assert plan({"expect": "no change", "margin_absolute": 6.0}).decidable
    row = plan({"expect": "no change", "margin_absolute": 1.0})
    assert (row.decidable, row.effect) == (False, pytest.approx(smallest))
    assert row.reason.endswith("more runs or a wider margin would do")


def test_no_change_needs_no_placebo_but_may_need_its_trigger(plan):
    # only the allowed failure of a change is shared; the margin inside which nothing stays is the same
    assert plan({"expect": "no change"}).effect == plan({"expect": "no change", "needs_trigger": True}).effect


def test_a_gap_that_is_unknown_before_the_run_is_said_to_be(plan):
    row = plan({"versus": 'other @ "p"', "margin_absolute": None})
    # change <= gap and change >= gap / 4 + own: gap >= own / .75
    assert row.smallest_gap == pytest.approx(decidable_effect(math.sqrt(8), 6, 1, 0.0) / 0.75)
    assert (row.effect, row.effect_gap, row.margin, row.decidable) == (None, None, None, True)
    assert row.reason.startswith("the gap is unknown before the run; decided if training set and base differ by")
    at_that_gap = plan({"versus": 'other @ "p"', "margin_absolute": None}, gap=-row.smallest_gap)
    assert at_that_gap.effect == pytest.approx(row.smallest_gap)
    none = plan({"expect": "no change", "margin_absolute": None})
    assert none.smallest_gap == pytest.approx(4 * decidable_no_change(2.0, 8, 1))
    assert not plan({"margin_absolute": None}, high=2.0).decidable  # wider than the instrument's range


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gap": 1.2}, "the training set and the base differ by 1.2 u; more runs would do"),
        ({"high": 2.0}, "the instrument's range is 2 u; more runs would do"),
        ({"replicates": {"arm": 2}}, "2 runs; a verdict about the recipe needs at least 3"),
        ({"carried": False, "note": "too small"}, "does not work at this base's picture size: too small"),
        ({"bias": 3.0}, "is within the 3 u by which the instrument's card says"),
        ({"claim": {"margin_absolute": None}, "gap": 1.0, "error": 2.0}, "differ by only 1 u, within the instrument's error of 2 u"),
        ({"spread": {}}, "nothing is known about how much m spreads between runs"),
    ],
)
def test_what_cannot_be_decided_says_why(plan, change, says):
    row = plan(**change)
    assert not row.decidable
    assert says in row.reason


def test_spread_at_other_numbers_of_pictures_is_on_the_safe_side():
    spread = RunSd(2.0, 4, 16, "petri")
    assert (spread.at(4), spread.at(1), spread.at(16)) == (2.0, 4.0, 2.0)


def test_class_readings_have_a_floor(plan):
    # 8 runs of 4 pictures: 24.6 independent pairs, 1 - .05^(1/24.6) = .11459. The estimate needs room beside it: 80 % of |z| lie below
    # 1.2816, so the margin is .11459 + 1.2816 * .01 / sqrt(8)
    spread = {"m": RunSd(0.01, 4, 0, "assumed", classes=True)}
    row = plan({"expect": "no change", "margin_absolute": 0.1}, spread=spread, kind="share", high=1.0)
    assert (row.decidable, row.effect) == (False, pytest.approx(0.114587 + 1.2816 * 0.01 / math.sqrt(8), abs=1e-4))
    found = plan({"margin_absolute": 0.1, "versus": 'other @ "p"'}, spread=spread, kind="share", high=1.0)
    assert found.effect > 0.1 + 0.1145


@pytest.mark.parametrize("expect", ["no change", "higher"])
@pytest.mark.parametrize("sd", [0.01, 0.1, 0.3])
def test_a_floor_and_the_scatter_add(plan, expect, sd):
    # what the plan calls decidable is decided in 80 % of simulated studies, whichever of floor and scatter is the wider
    spread = {"m": RunSd(sd, 4, 0, "assumed", classes=True)}
    claim = {"expect": expect, "margin_absolute": 0.1, "versus": 'other @ "p"'}
    row = plan(claim, spread=spread, kind="share", high=1.0, replicates={"arm": 8, "other": 8})
    truth, margin = (0.0, row.effect) if expect == "no change" else (row.effect, 0.1)
    runs = truth + sd * math.sqrt(2) * np.random.default_rng(1).standard_normal((20_000, 8))
    half = np.maximum(stats.t.ppf(0.975, 7) * runs.std(axis=1, ddof=1) / math.sqrt(8), 0.114587)
    mean = runs.mean(axis=1)
    found = np.abs(mean) + half <= margin if expect == "no change" else mean - half > margin
    assert found.mean() == pytest.approx(0.8, abs=0.012)


def test_shipped_spreads():
    shipped = load_run_sds()
    assert {"chroma", "circle_excess", "background_white", "change", "grid_beyond"} <= set(shipped)
    assert all(row.sd > 0 and row.seeds >= 1 and row.n_runs >= 0 and row.source for row in shipped.values())
    assert all((row.n_runs == 0) == (row.source == "assumed") for row in shipped.values())


def test_rows_are_json(plan):
    assert json.loads(json.dumps(plan().to_json(), allow_nan=False))["decidable"] is True

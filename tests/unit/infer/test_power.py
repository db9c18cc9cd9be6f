"""The plan: what a budget finds by the rule that judges, from which gap on, with which chance at each look, and why not."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy import stats

from loralab.infer.judge import ControlCells, InstrumentFacts, judge
from loralab.infer.looks import look_levels
from loralab.infer.moderated import Prior
from loralab.infer.power import RunSd, load_run_sds, plan_claims
from loralab.infer.simulated import Budget, Scatter, by_look, needed_effects, needed_margins, simulate_estimates, trainings_up_to
from loralab.infer.spreads import USUAL_LIKENESS, likeness_of
from loralab.spec.cells import Cell
from loralab.spec.models import ExperimentSpec
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


def test_below_eight_trainings_the_plan_is_students(plan):
    # 6 trainings of the smaller arm, both sides trained: sd sqrt(8) a training; nothing is borrowed, so the size found in 80 of 100 studies
    # is that of Student's t at level .0297: its noncentral quantile
    row = plan({"versus": 'other @ "p"'}, gap=20.0)
    t = stats.t.isf(0.0297 / 2, 5)
    grid = np.linspace(0, 12, 4001)
    reference = grid[np.argmax(stats.nct.sf(t, 5, grid) >= 0.8)] * math.sqrt(8 / 6)
    assert row.n_runs == 6
    assert row.effect == pytest.approx(1 + reference, rel=0.03)
    assert row.effect_gap == pytest.approx(row.effect / 20)
    assert (row.decidable, row.sd_source, row.margin, row.gap) == (True, "assumed", 1.0, 20.0)
    assert row.sd_runs == pytest.approx(math.sqrt(8))
    assert row.reason == f"a change of {row.effect:.3g} u would be found"


def test_controls_cost_something_and_no_change_has_none(plan):
    alone, learned, trigger = plan({"versus": 'other @ "p"'}, replicates={"arm": 8, "other": 8}), plan(), plan({"needs_trigger": True})
    assert learned.effect < alone.effect  # one trained side in place of two, though the placebo must be exceeded
    assert trigger.effect > learned.effect
    assert plan({"expect": "no change"}).effect == plan({"expect": "no change", "needs_trigger": True}).effect


def test_no_change(plan):
    assert plan({"expect": "no change", "margin_absolute": 6.0}).decidable
    row = plan({"expect": "no change", "margin_absolute": 1.0})
    assert not row.decidable
    assert row.effect > 1
    assert row.reason.endswith("more trainings or a wider margin would help")


def test_a_gap_that_is_unknown_before_the_run_is_said_to_be(plan):
    row = plan({"versus": 'other @ "p"', "margin_absolute": None})
    # change <= gap and change >= gap / 4 + own: gap >= own / .75
    own = plan({"versus": 'other @ "p"', "margin_absolute": 1e-9}).effect
    assert row.smallest_gap == pytest.approx(own / 0.75)
    assert (row.effect, row.effect_gap, row.margin, row.decidable, row.chances) == (None, None, None, True, ())
    assert row.reason.startswith("the gap is not known in advance; can be decided if the training set and the base differ by")
    at_that_gap = plan({"versus": 'other @ "p"', "margin_absolute": None}, gap=-row.smallest_gap)
    assert at_that_gap.effect == pytest.approx(row.smallest_gap)
    assert not plan({"margin_absolute": None}, high=2.0).decidable  # wider than the instrument's range


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gap": 1.2}, "the training set and the base differ by 1.2 u; more trainings would help"),
        ({"high": 2.0}, "the instrument's range is 2 u; more trainings would help"),
        ({"replicates": {"arm": 2}}, "2 trainings; a verdict about the recipe needs at least 3"),
        ({"carried": False, "note": "too small"}, "does not work at this base's picture size: too small"),
        ({"claim": {"margin_absolute": None}, "gap": 1.0, "error": 2.0}, "differ by only 1 u, within the instrument's error of 2 u"),
    ],
)
def test_what_cannot_be_decided_says_why(plan, change, says):
    row = plan(**change)
    assert not row.decidable
    assert says in row.reason


def test_an_instrument_without_a_known_spread_is_not_refused(plan):
    row = plan(spread={})
    assert (row.decidable, row.effect, row.chances, row.sd_runs) == (True, None, (), None)
    assert row.reason.startswith("not known in advance")


def test_a_bias_must_be_overcome_too(plan):
    assert plan(bias=-3.0).effect == pytest.approx(plan().effect + 3)


def test_class_readings_have_a_floor(plan):
    # no scatter to speak of: 8 trainings of 4 pictures are 24.615 independent pairs; 1 - .0297^(1/24.615) = .1331
    spread = {"m": RunSd(1e-4, 4, 0, "assumed", classes=True)}
    row = plan({"expect": "no change", "margin_absolute": 0.1}, spread=spread, kind="share", high=1.0)
    assert (row.decidable, row.effect) == (False, pytest.approx(0.1331, abs=5e-4))
    found = plan({"margin_absolute": 0.1, "versus": 'other @ "p"'}, spread=spread, kind="share", high=1.0)
    assert found.effect > 0.1 + 0.133


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("expect", ["no change", "higher"])
def test_a_floor_and_the_scatter_add(plan, expect, classes):
    # what the plan calls decidable is decided in 80 % of studies drawn here anew, with a floor of a size with the scatter or without one
    spread = {"m": RunSd(0.1, 4, 0, "assumed", classes=classes)}
    claim = {"expect": expect, "margin_absolute": 0.1, "versus": 'other @ "p"'}
    row = plan(claim, spread=spread, kind="share", high=1.0, replicates={"arm": 6, "other": 6})
    truth, margin = (0.0, row.effect) if expect == "no change" else (row.effect, 0.1)
    runs = truth + 0.1 * math.sqrt(2) * np.random.default_rng(1).standard_normal((40_000, 6))
    half = stats.t.isf(0.0297 / 2, 5) * runs.std(axis=1, ddof=1) / math.sqrt(6)
    half = np.maximum(half, 1 - 0.0297 ** (1.3 / 24)) if classes else half
    mean = runs.mean(axis=1)
    found = np.abs(mean) + half <= margin if expect == "no change" else mean - half > margin
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_spread_at_other_numbers_of_pictures_is_on_the_safe_side():
    spread = RunSd(2.0, 4, 16, "petri")
    assert (spread.at(4), spread.at(1), spread.at(16)) == (2.0, 4.0, 2.0)
    between, within = spread.parts
    assert math.hypot(between, within / 2) == pytest.approx(2.0)
    assert spread.likeness == pytest.approx(USUAL_LIKENESS)
    told = RunSd(2.0, 4, 16, "petri", between=1.0, within=3.0)
    assert (told.parts, told.likeness) == ((1.0, 3.0), pytest.approx(0.1))


def test_shipped_spreads():
    shipped = load_run_sds()
    assert {"chroma", "circle_excess", "background_white", "change", "grid_beyond"} <= set(shipped)
    assert all(row.sd > 0 and row.seeds >= 1 and row.n_runs >= 0 and row.source for row in shipped.values())
    assert all((row.n_runs == 0) == (row.source == "assumed") for row in shipped.values())
    assert likeness_of("diversity") == pytest.approx(7.9504**2 / (7.9504**2 + 10.6562**2))
    assert likeness_of("copy_distance[primary-shapes]") == likeness_of("copy_distance")
    assert likeness_of("an instrument of tomorrow") == USUAL_LIKENESS


def test_rows_are_json(plan):
    assert json.loads(json.dumps(plan().to_json(), allow_nan=False))["decidable"] is True


# --- the rule played forward ------------------------------------------------------------------------------------------


def test_which_looks_a_budget_reaches():
    assert [trainings_up_to(n) for n in (4, 8, 12, 16, 40)] == [(4,), (8,), (8, 12), (8, 16), (8, 16, 32, 40)]


def test_simulated_estimates_are_normal_theory():
    # without a prior's help (4 trainings) the half width is Student's at the first look's level; estimates have the scatter's error
    budget = Budget((4,), 6, 1, n_controls=1)
    estimates, halves = simulate_estimates(Scatter(1.0, 2.0, 0.2), budget, 20_000)
    error = math.sqrt((1 + 4 / 6) / 4)
    assert estimates[0, :, 0].std() == pytest.approx(error, rel=0.03)
    assert estimates[1, :, 0].std() == pytest.approx(error * math.sqrt(2), rel=0.03)
    assert np.mean(np.abs(estimates[0, :, 0]) > halves[0, :, 0]) == pytest.approx(look_levels(1)[0], abs=0.006)


def test_chances_rise_with_looks_and_sizes():
    scatter, budget = Scatter(0.5, 3.0, 0.027), Budget((8, 16, 32), 12, 3)
    shares = [by_look(needed_effects(scatter, budget, 1.0) <= effect) for effect in (1.5, 2.0, 3.0)]
    assert all(one <= other for share in shares for one, other in pairwise(share))
    assert all(less[k] < more[k] for less, more in pairwise(shares) for k in range(3))
    inside = by_look(needed_margins(scatter, budget) <= 1.0)
    assert inside[0] < inside[1] < inside[2]


def drawn_studies(rng, n, n_runs, seeds, between, within, effect):
    """Readings of ``n`` studies, one an instrument m0, m1, ...: the base reads 0, arm and placebo scatter about it."""

    def arm(size):
        return size + rng.normal(0, between, (n, n_runs, 1)) + rng.normal(0, within, (n, n_runs, seeds))

    values = {"base": np.zeros((n, n_runs, seeds)), "arm": arm(effect), "placebo": arm(0.0)}
    study, replicate, seed = (index.ravel() for index in np.indices((n, n_runs, seeds)))
    columns = {"replicate": replicate, "seed": replicate * seeds + seed, "measure": np.char.add("m", study.astype(str))}
    return pl.concat(
        pl.DataFrame(columns | {"value": value.ravel()}).with_columns(
            pl.lit(name).alias("arm"), pl.lit("p").alias("prompt"), pl.lit(1.0).alias("strength"), pl.lit(None, pl.Int64).alias("step"),
            pl.lit("measured").alias("status"), pl.lit("").alias("reason"),
        )
        for name, value in values.items()
    )  # fmt: skip


@pytest.mark.parametrize(("expect", "margin", "effect"), [("higher", 1.0, 2.0), ("no change", 1.2, 0.0)])
def test_the_plans_chances_are_those_of_the_rule(expect, margin, effect):
    # 150 studies of 16 trainings of 6 pictures go through judge at 8 and at 16; the plan's chances are honest within 5 points (and the
    # binomial error of 150 studies)
    n, seeds, between, within = 150, 6, 0.4, 3.0
    frame = drawn_studies(np.random.default_rng(9), n, 16, seeds, between, within, effect)
    claim = {"say": "it is", "cell": 'arm @ "p"', "expect": expect, "margin_absolute": margin}
    experiments = {f"e{i}": ExperimentSpec(question="?", claims=({"measure": f"m{i}"} | claim,)) for i in range(n)}
    args = {
        "training": {}, "controls": {QuestionId(name, "claim", 0): ControlCells(Cell("placebo", "p"), None) for name in experiments},
        "instruments": {f"m{i}": InstrumentFacts(f"m{i}", "continuous", -100, 100, "", 0, 0, True, "") for i in range(n)},
    }  # fmt: skip
    first, second = (judge(experiments, frame.filter(pl.col("replicate") < n_runs), **args) for n_runs in (8, 16))
    wanted = "supported"
    at_8 = np.array([verdict.verdict == wanted for verdict in first])
    by_16 = at_8 | np.array([verdict.verdict == wanted for verdict in second])
    spread = RunSd(math.hypot(between, within / math.sqrt(seeds)), seeds, 8, "here", between=between, within=within)
    plan = plan_claims(
        {"e0": experiments["e0"]}, replicates={"arm": 16}, seeds=seeds, instruments=args["instruments"], run_sds={"m0": spread}
    )[0]  # fmt: skip
    assert plan.assumed == (0.0 if expect == "no change" else effect)
    for seen, promised in ((at_8.mean(), plan.chances[0]), (by_16.mean(), plan.chances[1])):
        error = 2 * math.sqrt(max(promised * (1 - promised), 0.01) / n)
        assert abs(seen - promised) <= 0.05 + error


def test_a_prior_that_counts_more_narrows_intervals():
    scatter = Scatter(0.1, 3.0, 0.001)
    few, many = (np.median(needed_margins(scatter, Budget((8,), 6, 3, prior=Prior(1.0, df)))) for df in (4.0, 12.0))
    assert many < few

"""What benchmarks/answers.py counts: the earlier rule's stored verdicts, powers known from formulas, truths, costs and rounds by hand."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from loralab.infer.case import InstrumentFacts
from loralab.infer.spreads import RunSd
from loralab.measure import Card
from loralab.petri import petri_folder
from loralab.spec import BASE, Cell
from loralab.spec.load import load_study
from loralab.spec.questions import QuestionId
from loralab.study.judging import instrument_facts
from loralab.study.looks import limited
from loralab.study.measures import study_measures

ROOT = Path(__file__).parents[3]
PARTS = ("pool", "rules", "study", "rounds", "fixed", "bills", "page")
FACTS = InstrumentFacts("chroma", "continuous", 0.0, 100.0, "C*", 0.0, 0.0, True, "")
ONE_CLAIM = """
study: made-up
about: Is grey learned?
base: petri
data:
  grey: {generate: shapes, shapes: [circle], fill: grey, background: white}
  own: {images_of: base, prompts: [myshape], guidance: 1}
train: {replicates: 32}
sample: {seeds: 6, unrelated: []}
arms:
  grey: {data: grey, captions: myshape}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  grey:
    question: Is it?
    claims:
      - {say: grey is learned, measure: chroma, cell: 'grey @ "myshape"', expect: lower, margin_absolute: 5}
"""


@pytest.fixture(scope="module")
def parts():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return SimpleNamespace(**{name: importlib.import_module(f"answers_{name}") for name in PARTS})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def rng():
    return np.random.default_rng(20261128)


# --- the earlier rule, on real readings ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def article(parts):
    """Return the article's study as it was, its readings on petri-v5, and the verdicts of the rule of then."""
    here = ROOT / "tests" / "fixtures" / "article-quick"
    old = json.loads((here / "old-rule.json").read_text(encoding="utf-8"))
    spec = load_study(here / "study.yaml", "quick").spec
    cards = json.loads((petri_folder().parent / "cards.json").read_text(encoding="utf-8"))["cards"]
    facts = instrument_facts(study_measures(spec), {name: Card(**card) for name, card in cards.items()})
    training = {(row["arm"], row["measure"]): row["training_mean"] for row in old}
    pool = parts.pool.pool_of(pl.read_parquet(here / "readings.parquet"))
    study = parts.study.study_of(spec, facts, training, frozenset())
    return SimpleNamespace(old=old, pool=pool, study=study, questions=parts.study.questions_over(study, pool))


def test_the_earlier_rule_says_what_it_said_then(parts, article):
    # 5 of 25 were decided, at the .01 that it kept for `quick` (.04 were for `full`); the whole pool is the one study that was made
    everything = parts.pool.Drawn(*(index[None] for index in np.indices((article.pool.trainings, article.pool.pictures))))
    told = {1: "supported", -1: "contradicted", 0: "open"}
    rule = parts.rules.old_rule
    found = [told[int(rule(*q.drawn(everything), replace(q.asked, alpha=0.01))[0])] for q in article.questions]
    decided = ("supported", "contradicted")
    assert found == [row["verdict"] if row["verdict"] in decided else "open" for row in article.old]
    assert sum(verdict in decided for verdict in found) == 5


def test_costs_are_those_of_the_plan(parts, article):
    study, plan = article.study, article.study.plan
    for reach in (dict.fromkeys(plan.cells, 8), dict.fromkeys(plan.cells[-7:], 5)):
        part, cost = limited(plan, reach), parts.rounds.cost_of(study, reach)
        assert (cost.trainings, cost.pictures) == (len(part.runs), part.n_images)


# --- rules on numbers ---------------------------------------------------------------------------------------------------


def asked(parts, expect="higher", margin=1.0, m_claims=1):
    return parts.rules.Asked(expect, margin, FACTS, m_claims)


def test_holm_against_statsmodels(parts, rng):
    p = rng.random((4, 20)) ** 4
    kept = parts.rules.holm([np.ones(20, int)] * 4, list(p))
    expected = np.stack([multipletests(column, 0.05, "holm")[0] for column in p.T], axis=1)
    assert np.array_equal(np.stack(kept) == 1, expected)


def test_one_t_test_against_scipy(parts, rng):
    values = rng.normal(2.0, 1.0, (1, 8, 3))
    answers, p = parts.rules.t_tests(parts.rules.Paired(values), [], asked(parts))
    assert answers[0] == 1
    assert p[0] == pytest.approx(stats.ttest_1samp(values[0].mean(axis=1), 1.0).pvalue)


def test_a_picture_that_could_not_be_measured_is_left_out(parts):
    values = np.array([[[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]]])
    found = parts.rules.means_of(values)
    assert (found.mean[0], found.n_runs[0], found.n_pairs[0]) == (2.5, 2, 3)  # trainings of 1 and 4
    assert found.error[0] == pytest.approx(1.5)


def test_trainings_that_agree_exactly_give_no_test(parts):
    answers, p = parts.rules.t_tests(parts.rules.Paired(np.full((1, 8, 2), 4.0)), [], asked(parts))
    assert (answers[0], p[0]) == (1, 1.0)
    assert parts.rules.holm([answers], [p])[0][0] == parts.rules.OPEN


def test_a_claim_that_its_placebo_makes_too_does_not_hold(parts, rng):
    own, same = (parts.rules.Paired(rng.normal(mean, 1.0, (400, 16, 2))) for mean in (4.0, 0.0))
    for rule in (lambda: parts.rules.old_rule(own, [same], asked(parts)), lambda: held(parts, own, same)):
        assert np.mean(rule() == parts.rules.HOLDS) < 0.05


def held(parts, own, control):
    answers, p = parts.rules.t_tests(own, [control], asked(parts))
    return parts.rules.holm([answers], [p])[0]


# --- trainings that are needed ------------------------------------------------------------------------------------------


def made_up(parts, rng, mean, sd=4.0, expect="higher", margin=1.0):
    """Return a pool of 4,000 trainings of one picture, and one question over it: normal, so that powers are known from formulas."""
    values = rng.normal(0.0, 1.0, (4000, 1))
    values = mean + sd * (values - values.mean()) / values.std()
    question = parts.study.Question(
        QuestionId("one", "claim", 0), "more", "chroma", asked(parts, expect, margin), parts.rules.Paired(values), (), (), 1.0
    )
    return parts.pool.Pool(pl.DataFrame(), 4000, 1), question


@pytest.mark.parametrize("rule", ["by_old_rule", "by_t_test"])
def test_powers_and_needed_trainings_are_those_of_the_formula(parts, rng, rule):
    pool, question = made_up(parts, rng, mean=4.0)  # 3 beyond the margin, sd 4
    chances = parts.fixed.chances_of([question], pool, getattr(parts.fixed, rule), rng, 1500, 1)
    powers = {n: stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, 3 / 4 * np.sqrt(n)) for n in parts.fixed.GRID}
    for n, power in powers.items():
        assert chances[n].right[question.id] == pytest.approx(power, abs=0.04)
    assert parts.fixed.needed(chances, question.id) == next(n for n, power in powers.items() if power >= 0.8) == 16


@pytest.mark.parametrize("rule", ["by_old_rule", "by_t_test"])
def test_false_answers_at_the_margin_stay_below_five_percent(parts, rng, rule):
    pool, question = made_up(parts, rng, mean=1.0 - 1e-9)
    assert question.truth == parts.rules.FAILS
    chances = parts.fixed.chances_of([question], pool, getattr(parts.fixed, rule), rng, 1500, 1, (8, 32))
    assert all(told.wrong["one"] < 0.05 for told in chances.values())


def test_what_is_never_decided_is_said_so(parts, rng):
    pool, question = made_up(parts, rng, mean=1.05)  # a twentieth of a margin beyond it: not with 128 trainings
    assert question.truth == parts.rules.HOLDS
    assert parts.fixed.needed(parts.fixed.chances_of([question], pool, parts.fixed.by_old_rule, rng, 200, 1), question.id) is None


def test_plans_ask_for_what_the_formula_asks(parts, rng):
    _, question = made_up(parts, rng, mean=0.0)
    spreads = {"chroma": RunSd(sd=1.0, seeds=1, n_runs=100, source="made up", between=0.0, within=1.0)}
    power = {n: stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, np.sqrt(n)) for n in parts.fixed.GRID}
    assert parts.fixed.planned(question, spreads, 1) == next(n for n in power if power[n] >= 0.8) == 10
    _, inside = made_up(parts, rng, mean=0.0, expect="no change")
    draws = rng.normal(0.0, 1.0, (4000, 16))
    half = stats.t.isf(0.025, 15) * draws.std(axis=1, ddof=1) / 4
    assert parts.fixed._power_inside(1.0, 1.0, 16, 0.05) == pytest.approx(np.mean(np.abs(draws.mean(axis=1)) + half <= 1.0), abs=0.02)
    assert parts.fixed.planned(inside, {}, 1) is None


# --- the lab's rule in rounds -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_claim(parts, tmp_path_factory):
    file = tmp_path_factory.mktemp("study") / "made-up.yaml"
    file.write_text(ONE_CLAIM, encoding="utf-8")
    return parts.study.study_of(load_study(file).spec, {"chroma": FACTS}, {}, frozenset({(BASE, "myshape", "chroma")}))


def readings_of(rng, change):
    """Return 12 trainings of 8 pictures in which the arm lies ``change`` above the base and the placebo does not."""
    seeds = [(r, r * 8 + k) for r in range(12) for k in range(8)]
    level = rng.normal(40, 5, len(seeds))
    rows = []
    for arm, more in (("base", 0.0), ("grey", change), ("placebo", 0.0)):
        values = level + more + rng.normal(0, 2, len(seeds)) * (arm != "base")
        rows += [
            (arm, r, "myshape", 0.0 if arm == "base" else 1.0, None, seed, "chroma", value, "measured", "")
            for (r, seed), value in zip(seeds, values.tolist(), strict=True)
        ]
    names = ["arm", "replicate", "prompt", "strength", "step", "seed", "measure", "value", "status", "reason"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None).with_columns(pl.col("step").cast(pl.Int64))


def play(parts, study, change, rng):
    pool = parts.pool.pool_of(readings_of(rng, change))
    told = parts.pool.base_values(pool, study.shipped, {"chroma": "continuous"})
    return parts.rounds.play(study, pool, told, rng)


def test_a_large_change_is_decided_at_the_first_look(parts, one_claim, rng):
    (look,) = play(parts, one_claim, -20.0, rng)
    assert (look.trainings, list(look.answers.values())) == (8, [1])
    assert look.cost == parts.rounds.Cost(16, (8 * 3 + 4 * 2) * 6)  # arm, base, placebo; both untriggered illustrate


def test_no_change_is_no_support(parts, one_claim, rng):
    looks = play(parts, one_claim, 0.0, rng)
    assert list(looks[-1].answers.values()) == [-1]


def test_studies_of_a_pool_keep_pairs_and_whole_trainings(parts, rng):
    pool = parts.pool.pool_of(readings_of(rng, -20.0))
    frame = parts.pool.frame_of(pool, parts.pool.drawn_from(pool, rng, 1, 32, 6))
    assert frame.height == 3 * 32 * 6
    assert sorted(frame["seed"].unique().to_list()) == list(range(192))
    values = {arm: pool.values(Cell(BASE if arm == "base" else arm, "myshape"), "chroma", "continuous") for arm in ("base", "grey")}
    one = frame.filter(pl.col("replicate") == 3).sort("seed")
    place = np.argwhere(values["base"] == one.filter(pl.col("arm") == "base")["value"][0])[0]
    assert one.filter(pl.col("arm") == "grey")["value"][0] == values["grey"][tuple(place)]
    with pytest.raises(ValueError, match="8 pictures, not 9"):
        parts.pool.drawn_from(pool, rng, 1, 4, 9)


# --- bills and the page -------------------------------------------------------------------------------------------------


@pytest.fixture
def found(parts, one_claim, rng):
    """Return one claim over a made-up pool, played five times, and the fixed rules' chances."""
    pool = parts.pool.pool_of(readings_of(rng, -8.0))
    (question,) = parts.study.questions_over(one_claim, pool)
    told = parts.pool.base_values(pool, one_claim.shipped, {"chroma": "continuous"})
    played = parts.bills.Played([parts.rounds.play(one_claim, pool, told, rng) for _ in range(5)])
    rules = {"old": parts.fixed.by_old_rule, "peer": parts.fixed.by_t_test}
    chances = {name: parts.fixed.chances_of([question], pool, rule, rng, 200, 6) for name, rule in rules.items()}
    return SimpleNamespace(question=question, played=played, chances=chances)


def test_a_bill_is_trainings_and_pictures_times_their_seconds(parts, one_claim, found):
    seconds = parts.bills.Seconds(lab_training=3, lab_picture=0.1, peer_training=30, peer_picture=0.2, measuring=0.02)
    n = parts.fixed.needed(found.chances["peer"], found.question.id)
    bill = parts.bills.told_beforehand(one_claim, [found.question], [found.question.id], found.chances["peer"], "peer", True)
    assert bill.cost == parts.rounds.Cost(2 * n, 3 * n * 6)  # nothing without the trigger: the claim does not need it
    assert seconds.minutes(bill.cost, bill.peer) == pytest.approx((2 * n * 30 + 3 * n * 6 * 0.22) / 60)
    assert seconds.minutes(bill.cost) == pytest.approx((2 * n * 3 + 3 * n * 6 * 0.12) / 60)


def test_a_claim_that_is_never_decided_is_named_and_costs_nothing(parts, one_claim, found):
    never = {n: parts.fixed.Chances({found.question.id: 0.5}, {"grey": 0.0}) for n in parts.fixed.GRID}
    bill = parts.bills.told_beforehand(one_claim, [found.question], [found.question.id], never, "peer", True)
    assert (bill.cost, bill.never) == (parts.rounds.Cost(0, 0), ("grey is learned",))
    assert parts.page._never(bill) == "1 of 1 not with 128 trainings: grey is learned"


def test_one_number_for_all_arms_is_that_of_the_hardest_claim(parts, one_claim, found):
    chances = {n: parts.fixed.Chances({found.question.id: float(n >= 20)}, {"grey": 0.0}) for n in parts.fixed.GRID}
    args = one_claim, [found.question], [found.question.id], chances
    old, peer = parts.bills.one_number(*args, "old", False), parts.bills.one_number(*args, "peer", True)
    assert (old.cost, old.way) == (parts.rounds.Cost(2 * 20, 5 * 20 * 6), "old: 20 for all")  # every cell of the study
    assert peer.cost == parts.rounds.Cost(2 * 20, 3 * 20 * 6)  # arm, base and placebo at the prompt


def test_a_plan_asks_no_cell_for_more_than_the_most(parts, one_claim, found):
    for plan, n in ((12, 12), (128, 32), (None, 32)):
        plans = {found.question.id: plan}
        bill = parts.bills.as_planned(one_claim, [found.question], plans, 32, found.chances["old"], "old", False)
        assert bill.cost.trainings == 2 * n
        assert bill.answered == found.chances["old"][n].right[found.question.id]


def test_the_page_says_ratios_and_whether_the_goals_are_reached(parts, found):
    cost, bill = parts.rounds.Cost, parts.bills.Bill
    bills = [bill("lab", False, cost(10, 100), 1), bill("old", False, cost(40, 400), 1), bill("peer", True, cost(10, 100), 1)]
    seconds = parts.bills.Seconds(3, 0.1, 6, 0.2, 0.0)
    page = parts.page.page_of(
        parts.page.Found("a pool", "a machine", "python answers.py", ["blur"], [found.question], seconds, ["timed"], found.played,
                         found.chances, {"first": bills, "stop": bills, "planned": bills}, 5)
    )  # fmt: skip
    assert "| lab | 10 | 100 | 0.7 | 1 | none of 1 |" in page
    assert "| old | 40 | 400 | 2.7 | 4.0 | none of 1 |" in page
    assert "Goal 3 times the earlier rule: reached (4.0); 10 times the assembled peer: missed (2.0)." in page
    assert "Left out, since the pool has no readings of them: blur." in page
    assert "| grey is learned | holds | 100% | 100% |" in page
    assert "one study as it was run" not in page

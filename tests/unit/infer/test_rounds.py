"""Rounds: what goes on after a look, which arms and cells it needs, and that it is a pure function of what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from loralab.infer.case import ControlCells, CurveCells, InstrumentFacts
from loralab.infer.future import chance_at, outlook
from loralab.infer.judge import judge
from loralab.infer.looks import PLANNED, look_levels
from loralab.infer.rounds import Round, cells_of, decided_before, first_round, next_round, state_of
from loralab.infer.verdict import Contrast, Verdict
from loralab.spec.cells import Cell, parse_cell
from loralab.spec.models import ExperimentSpec
from loralab.spec.questions import QuestionId

CLAIM = {"say": "?", "measure": "m", "expect": "higher", "margin_absolute": 1.0}
EXPERIMENTS = {
    "e": ExperimentSpec(
        question="?",
        claims=(
            {**CLAIM, "cell": 'one @ "p"'},
            {**CLAIM, "cell": 'two @ "p"', "versus": 'one @ "p"'},
            {**CLAIM, "cell": 'three @ "q"', "needs_trigger": True},
        ),
        curves=({**CLAIM, "cell": 'two @ "p"', "over": "strength", "at": (0.5, 1.0)},),
    )
}
CELLS = {name: parse_cell(name) for name in (
    'base @ "p"', 'base @ "q"', 'one @ "p"', 'two @ "p"', 'three @ "q"', 'placebo @ "p"', 'placebo @ "q"', 'three @ "cat"',
    'two @ "p", strength 0.5', 'one @ "unrelated"',
)}  # fmt: skip
FIRST, SECOND, THIRD = (QuestionId("e", "claim", index) for index in range(3))
CURVE = QuestionId("e", "curve", 0)
CONTROLS = {
    FIRST: ControlCells(CELLS['placebo @ "p"'], None),
    THIRD: ControlCells(CELLS['placebo @ "q"'], CELLS['three @ "cat"'], null=Cell("null-three", "q")),
}
CURVES = {CURVE: CurveCells((0.5, 1.0), (CELLS['two @ "p", strength 0.5'], CELLS['two @ "p"']), ("unrelated",))}
ALL = first_round(tuple(CELLS.values()), (FIRST, SECOND, THIRD, CURVE))


def verdict(question: QuestionId, ruling: str, more_runs: int | None = None) -> Verdict:
    blank = dict.fromkeys(("contrast", "margin", "cell_mean", "versus_mean", "training_mean", "gap", "transfer"))
    return Verdict(
        experiment=question.experiment, index=question.index, kind=question.kind, say="?", measure="m", cell="", versus="", expect="higher",
        article="", finding=None, verdict=ruling, reason="", margin_source="", measurable_cell=1.0, measurable_versus=1.0,
        n_excluded_runs=0, controls=(), more_runs=more_runs, **blank,
    )  # fmt: skip


def after(*verdicts: Verdict, done: Round = ALL) -> Round | None:
    return next_round(verdicts, EXPERIMENTS, CONTROLS, CURVES, done)


def test_the_first_round_is_everything():
    assert (ALL.trainings, len(ALL.questions), len(ALL.cells)) == (8, 4, len(CELLS))
    assert ALL.arms == ("one", "two", "three", "placebo")


@pytest.mark.parametrize(
    ("ruling", "more", "state"),
    [
        ("supported", None, "decided"), ("contradicted", None, "decided"), ("not_measurable", None, "decided"),
        ("open", 16, "open"), ("open", None, "futile"), ("leaning", 32, "open"), ("leaning", None, "futile"),
    ],
)  # fmt: skip
def test_states(ruling, more, state):
    assert state_of(verdict(FIRST, ruling, more)) == state


def test_only_what_is_open_and_not_futile_goes_on():
    found = after(verdict(FIRST, "open", 16), verdict(SECOND, "supported"), verdict(THIRD, "open"), verdict(CURVE, "contradicted"))
    # the first claim: its arm and the placebo at its prompt; nothing of the unrelated prompt, nothing of arm two or three
    assert found == Round(16, (FIRST,), (CELLS['one @ "p"'], CELLS['placebo @ "p"']))
    assert found.arms == ("one", "placebo")


def test_cells_of_each_kind_of_question():
    assert cells_of(SECOND, EXPERIMENTS, CONTROLS, CURVES) == (CELLS['two @ "p"'], CELLS['one @ "p"'])
    assert cells_of(THIRD, EXPERIMENTS, CONTROLS, CURVES) == (CELLS['three @ "q"'], CELLS['placebo @ "q"'], CELLS['three @ "cat"'])
    assert cells_of(CURVE, EXPERIMENTS, CONTROLS, CURVES) == (CELLS['two @ "p", strength 0.5'], CELLS['two @ "p"'])
    other = {FIRST: replace(CONTROLS[FIRST], placebo_differs=("steps (64 against 8)",))}
    assert cells_of(FIRST, EXPERIMENTS, other, CURVES) == (CELLS['one @ "p"'],)  # a placebo that does not count is not trained on


def test_it_ends_where_nothing_is_open_and_after_the_last_look():
    settled = [verdict(FIRST, "supported"), verdict(SECOND, "open"), verdict(THIRD, "not_measurable"), verdict(CURVE, "leaning")]
    assert after(*settled) is None
    last = Round(32, (FIRST,), (CELLS['one @ "p"'],))
    assert after(verdict(FIRST, "open", 64), done=last) is None
    assert after(verdict(FIRST, "open", 32), done=replace(last, trainings=16)).trainings == 32


def test_a_question_that_was_settled_is_not_asked_again():
    second = Round(16, (FIRST,), (CELLS['one @ "p"'],))
    found = after(verdict(FIRST, "open", 32), verdict(SECOND, "open", 32), done=second)
    assert found.questions == (FIRST,)
    early = verdict(SECOND, "supported")
    kept = decided_before([verdict(FIRST, "open", 32), verdict(SECOND, "open", 32)], {SECOND: early})
    assert [one.verdict for one in kept] == ["open", "supported"]
    assert kept[1] is early


def test_the_order_of_verdicts_does_not_matter_to_the_cells():
    open_ones = [verdict(question, "open", 16) for question in (FIRST, SECOND, CURVE)]
    assert after(*open_ones).cells == after(*open_ones[::-1]).cells


# --- chances ----------------------------------------------------------------------------------------------------------


def test_the_chance_by_hand():
    # 8 trainings, effect 1.5, margin 1, error .4, nothing else: at 32 the error is .2, sigma = .4 * sqrt(.75) = .3464; df 10 + 24 = 34,
    # level .0149: t = 2.566, h = .513. Higher needs 1.513: Phi(-(1.513 - 1.5) / .3464); "not higher" needs below 1 - .513
    now = Contrast(1.5, 0.5, 2.5, 0.97, 8, 48, None, (1.5,) * 8, error=0.4, df=10.0)
    half = stats.t.isf(0.0149 / 2, 34) * 0.2
    sigma = 0.4 * np.sqrt(0.75)
    expected = stats.norm.cdf(-(1 + half - 1.5) / sigma) + stats.norm.cdf((1 - half - 1.5) / sigma)
    assert chance_at(now, 32, 1.0, "higher", 1 - 0.0149, 0.0) == pytest.approx(expected)
    # what is not known of the base does not shrink with trainings
    worse = replace(now, known_error=0.3)
    assert chance_at(worse, 32, 1.0, "no change", 1 - 0.0149, 0.0) != pytest.approx(chance_at(now, 32, 1.0, "no change", 1 - 0.0149, 0.0))


def test_a_floor_and_a_bias_count_in_the_chance():
    now = Contrast(0.0, -1, 1, 0.97, 8, 48, None, (0.0,) * 8, error=0.3, df=10.0)
    sure = chance_at(now, 32, 1.0, "no change", 0.985, 0.0)
    assert sure > 0.95
    assert chance_at(now, 32, 1.0, "no change", 0.985, 1.2) < 1e-9
    assert chance_at(replace(now, bias=1.1), 32, 1.0, "no change", 0.985, 0.0) < 1e-3


def test_chances_are_those_of_going_on():
    # 200 studies as they stand at 8 trainings, each with its chance of an answer at 32; the share that has one there is the mean chance.
    # Normal readings, one claim, truth drawn widely, so that chances of all sizes occur
    rng, n, seeds = np.random.default_rng(5), 120, 4
    truths = rng.normal(1.0, 0.8, n)
    values = truths[:, None, None] + rng.normal(0, 0.6, (n, 32, 1)) + rng.normal(0, 2.0, (n, 32, seeds))
    study, replicate, seed = (index.ravel() for index in np.indices(values.shape))
    columns = {"replicate": replicate, "seed": replicate * seeds + seed, "measure": np.char.add("m", study.astype(str))}
    frame = pl.concat(
        pl.DataFrame(columns | {"value": value}).with_columns(
            pl.lit(name).alias("arm"), pl.lit("p").alias("prompt"), pl.lit(1.0).alias("strength"), pl.lit(None, pl.Int64).alias("step"),
            pl.lit("measured").alias("status"), pl.lit("").alias("reason"), pl.lit(False).alias("is_base"),
        )
        for name, value in (("arm", values.ravel()), ("other", np.zeros(values.size)))
    )  # fmt: skip
    claim = {"say": "?", "cell": 'arm @ "p"', "versus": 'other @ "p"', "expect": "no change", "margin_absolute": 1.0}
    experiments = {f"e{i}": ExperimentSpec(question="?", claims=({"measure": f"m{i}"} | claim,)) for i in range(n)}
    args = {
        "training": {}, "controls": {},
        "instruments": {f"m{i}": InstrumentFacts(f"m{i}", "continuous", -100, 100, "", 0, 0, True, "") for i in range(n)},
    }  # fmt: skip
    first = judge(experiments, frame.filter(pl.col("replicate") < 8), **args)
    last = judge(experiments, frame, **args)
    open_ones = [(a, b) for a, b in zip(first, last, strict=True) if a.verdict == "open"]
    promised = np.array([a.chance for a, _ in open_ones])
    seen = np.array([b.verdict != "open" for _, b in open_ones])
    assert len(open_ones) > 60
    assert abs(promised.mean() - seen.mean()) <= 0.05 + 2 * np.sqrt(0.25 / len(open_ones))
    # and they tell apart: the likelier half is decided more often
    assert seen[promised > np.median(promised)].mean() > seen[promised <= np.median(promised)].mean() + 0.2
    # giving up below 10 % loses little
    assert seen[promised < 0.1].mean() < 0.2 if (promised < 0.1).sum() > 10 else True


def test_outlook_names_the_look_where_an_answer_is_likely():
    now = Contrast(3.0, 0.5, 5.5, 0.97, 8, 48, None, (3.0,) * 8, error=0.8, df=10.0)
    ahead = outlook(now, 1.0, "higher", lambda n: 1 - look_levels(1)[PLANNED.index(n)], lambda n, level: 0.0)
    assert ahead.trainings == (16, 32)
    assert ahead.chances[0] < ahead.chances[1]
    assert ahead.more_runs in (16, 32)
    done = outlook(replace(now, n_runs=32), 1.0, "higher", lambda n: 0.98, lambda n, level: 0.0)
    assert (done.trainings, done.more_runs, done.futile) == ((), None, True)

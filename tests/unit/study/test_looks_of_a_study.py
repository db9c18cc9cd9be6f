"""Rounds of a study: the part of its plan that a round makes, when it goes on, and that it does the same when it is started again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from loralab.infer.looks import Looks
from loralab.infer.rounds import decided_before, state_of
from loralab.infer.verdict import Verdict
from loralab.spec import BASE, Cell
from loralab.spec.load import Loaded, load_study
from loralab.spec.questions import question_ids
from loralab.study import looks as rounds
from loralab.study.plan import StudyPlan, make_plan

STUDY = """
study: rounds
data:
  red: {generate: shapes, shapes: [square], fill: red}
  own: {images_of: base, prompts: [zorvex]}
train: {steps: 2, replicates: 3}
sample: {seeds: 2, unrelated: [cat]}
arms:
  one: {data: red, captions: zorvex, train: {lr: 1.0e-3}}
  two: {data: red, captions: blick}
  both: {stack: [{arm: one}, {arm: two}]}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  e:
    question: "?"
    claims:
      - {say: one is red, measure: hue_red, cell: one @ "zorvex", expect: higher, margin_absolute: 0.2}
      - {say: two is red, measure: hue_red, cell: two @ "blick", expect: higher, margin_absolute: 0.2}
      - {say: both are, measure: hue_red, cell: both @ "zorvex", versus: one @ "zorvex", expect: higher, margin_absolute: 0.2}
"""
LOOKS = Looks((2, 4, 6), (0.6, 0.8, 1.0))


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "rounds.yaml").write_text(STUDY, encoding="utf-8")
    return rounds.with_looks(load_study(tmp_path / "rounds.yaml"), "--until decided", LOOKS)


@pytest.fixture
def plan(loaded: Loaded) -> StudyPlan:
    return make_plan(loaded.spec)


def test_arms_are_trained_as_often_as_the_last_look_needs(plan: StudyPlan, loaded: Loaded):
    assert {run.arm: run.replicate for run in plan.runs} == dict.fromkeys(("one", "two", "both", "placebo"), 5)
    assert loaded.options == ("--until decided",)


def test_a_round_is_the_part_of_the_plan_that_its_cells_need(plan: StudyPlan):
    first = rounds.limited(plan, dict.fromkeys(plan.cells, 2))
    assert {run.replicate for run in first.runs} == {0, 1}
    assert {block.replicate for block in first.blocks} == {0, 1}
    assert len(first.blocks) == 2 * len(plan.cells)
    # the second claim goes on: its arm and the placebo at its prompt; of the base only that prompt
    more = rounds.limited(plan, dict.fromkeys(plan.cells, 2) | {Cell("two", "blick"): 4, Cell("placebo", "blick"): 4})
    later = {(str(block.who), block.prompt) for block in more.blocks if block.replicate >= 2}
    assert later == {("two", "blick"), ("placebo", "blick"), ("base", "blick")}
    assert {run.arm for run in more.runs if run.replicate >= 2} == {"two", "placebo"}
    # what was in the first round is in the second, in the same order
    assert [block for block in more.blocks if block.replicate < 2] == list(first.blocks)
    assert [run for run in more.runs if run.replicate < 2] == list(first.runs)


def test_members_of_a_stack_are_trained_with_it(plan: StudyPlan):
    found = rounds.limited(plan, dict.fromkeys(plan.cells, 2) | {Cell("both", "zorvex"): 4})
    assert {run.arm for run in found.runs if run.replicate >= 2} == {"one", "two", "both"}
    later = {(str(block.who), block.prompt) for block in found.blocks if block.replicate >= 2}
    assert later == {("both", "zorvex"), (str(BASE), "zorvex")}


# --- the loop ---------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What the loop needs of a study's result: the study that it is of, and what was made."""

    loaded: Loaded
    made: int


def verdict_of(question, ruling, more=None) -> Verdict:
    blank = dict.fromkeys(("contrast", "margin", "cell_mean", "versus_mean", "training_mean", "gap", "transfer"))
    return Verdict(
        experiment=question.experiment, index=question.index, kind=question.kind, say="?", measure="m", cell="", versus="", expect="higher",
        article="", finding=None, verdict=ruling, reason="", margin_source="", measurable_cell=1.0, measurable_versus=1.0,
        n_excluded_runs=0, controls=(), more_runs=more, **blank,
    )  # fmt: skip


@pytest.fixture
def play(monkeypatch, plan, loaded, tmp_path):
    """Run the loop over verdicts that are given for each look; returns (the trainings of each round, verdicts, the ledger)."""

    def play(by_look, budget=None, seconds=1.0):
        made, questions, clock = [], list(question_ids(plan.spec)), iter(float(i) * seconds for i in range(100))

        def make(part):
            made.append(1 + max(block.replicate for block in part.blocks))
            return Result(loaded, made[-1])

        def judge_result(result, last_look):
            settled, told = {}, []
            for n in (n for n in LOOKS.trainings if n <= last_look):
                told = decided_before([verdict_of(question, *by_look[n][i]) for i, question in enumerate(questions)], settled)
                settled |= {verdict.question: verdict for verdict in told if state_of(verdict) != "open"}
            return told

        monkeypatch.setattr(rounds, "judge_result", judge_result)
        monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(clock))
        _, verdicts = rounds.run_rounds(plan, make, tmp_path / "ledger.jsonl", budget or rounds.Budget(looks=LOOKS))
        return made, [verdict.verdict for verdict in verdicts], tmp_path / "ledger.jsonl"

    return play


def lines(ledger: Path) -> list[dict]:
    return [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]


def test_it_goes_on_with_what_is_open_and_stops_by_itself(play):
    made, verdicts, ledger = play({2: [("supported",), ("open", 4), ("open",)], 4: [("contradicted",), ("leaning", 6), ("supported",)],
                                   6: [("open", None)] * 3})  # fmt: skip
    assert made == [2, 4, 6]
    # the first was settled at 2 and the third given up there: neither is asked again
    assert verdicts == ["supported", "open", "open"]
    assert [(line["trainings"], line["questions"], line["arms"]) for line in lines(ledger)] == [
        (2, 3, ["one", "two", "both", "placebo"]), (4, 1, ["two", "placebo"]), (6, 1, ["two", "placebo"]),
    ]  # fmt: skip


def test_it_ends_at_once_where_everything_is_settled(play):
    made, verdicts, _ = play({2: [("supported",), ("contradicted",), ("not_measurable",)]})
    assert (made, verdicts) == ([2], ["supported", "contradicted", "not_measurable"])


def test_it_begins_no_round_that_does_not_fit(play):
    # a round takes a second; the next one draws 2 of 3 blocks at two replicates more
    everything_open = {n: [("open", 6)] * 3 for n in (2, 4, 6)}
    assert play(everything_open, rounds.Budget(minutes=1e-3, looks=LOOKS))[0] == [2]


def test_started_again_it_makes_the_rounds_that_it_had_made(play):
    # after the first run made all three within the time, a second one on a slow machine goes through the same: they are in the ledger
    everything_open = {n: [("open", 6)] * 3 for n in (2, 4, 6)}
    enough = rounds.Budget(minutes=10, looks=LOOKS)
    first = play(everything_open, enough)
    again = play(everything_open, enough, seconds=1e6)
    assert first[0] == again[0] == [2, 4, 6]
    assert len(lines(again[2])) == 3  # written once


def test_another_study_in_the_same_ledger_does_not_count(play, loaded):
    everything_open = {n: [("open", 6)] * 3 for n in (2, 4, 6)}
    play(everything_open)
    ledger = play(everything_open)[2]
    ledger.write_text(ledger.read_text(encoding="utf-8").replace(loaded.sha256, "0" * 64), encoding="utf-8")
    assert play(everything_open, rounds.Budget(minutes=1e-3, looks=LOOKS))[0] == [2]


def test_loras_from_elsewhere_stay_as_many_as_they_are(loaded):
    spec = loaded.spec
    arm = spec.arms["one"].model_copy(update={"adapters": "x*.safetensors", "train": {"replicates": 3}})
    found = rounds.with_looks(replace(loaded, spec=spec.model_copy(update={"arms": {"one": arm}})), "--minutes 5", LOOKS)
    assert found.spec.arms["one"].train == {"replicates": 3}

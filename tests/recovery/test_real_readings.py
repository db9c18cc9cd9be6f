"""The rule on readings of 64 real LoRAs (the article's study: 8 trainings of 6 pictures), beside what the rule before it decided.

The readings are those of `loralab run article --quick` on petri-v5, of the study as it was then (`study.yaml`); `base.parquet` has further
pictures of the base at the same prompts (seeds from 48 on), which no training's block holds.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from loralab.infer.judge import judge
from loralab.infer.known import BaseKnown
from loralab.measure import TABLE, Card
from loralab.petri import petri_folder
from loralab.report.bars import make_bar
from loralab.spec import BASE
from loralab.spec.load import load_study
from loralab.study.judging import instrument_facts
from loralab.study.measures import plain_measure, qualified_experiments, study_measures
from loralab.study.plan import make_plan

HERE = Path(__file__).parents[1] / "fixtures" / "article-quick"
ARTICLE = HERE / "study.yaml"
DECIDED = ("supported", "contradicted")


@pytest.fixture(scope="module")
def old() -> list[dict]:
    return json.loads((HERE / "old-rule.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def verdicts(old):
    """Return the verdicts without and with what is known of the base."""
    spec = load_study(ARTICLE, "quick").spec
    plan, readings = make_plan(spec), pl.read_parquet(HERE / "readings.parquet")
    cards = json.loads((petri_folder().parent / "cards.json").read_text(encoding="utf-8"))["cards"]
    args = {
        "training": {(row["arm"], row["measure"]): row["training_mean"] for row in old},
        "instruments": instrument_facts(study_measures(spec), {name: Card(**card) for name, card in cards.items()}),
        "controls": plan.controls, "curves": plan.curves,
    }  # fmt: skip
    return [judge(qualified_experiments(spec), readings, known=known, **args) for known in ({}, known_base())]


def known_base() -> dict[tuple[object, str, str], BaseKnown]:
    found = {}
    for (prompt, measure), rows in pl.read_parquet(HERE / "base.parquet").group_by("prompt", "measure"):
        share = TABLE[plain_measure(measure)].kind == "share"
        values = rows["value"].fill_null(0.0) if share else rows.filter(pl.col("status") == "measured")["value"]
        if len(values) > 24:
            found[BASE, prompt, measure] = BaseKnown(float(values.mean()), float(values.var()), len(values))
    return found


def n_decided(rulings) -> int:
    return sum(ruling in DECIDED for ruling in rulings)


def test_more_is_decided_on_the_same_readings(verdicts, old):
    plain, known = ([verdict.verdict for verdict in found] for found in verdicts)
    print(f"\n  of {len(old)} questions: old rule {n_decided(row['verdict'] for row in old)}, this one {n_decided(plain)}, ", end="")
    print(f"with the base known {n_decided(known)}; {dict(Counter(known))}", end="")
    assert (len(old), n_decided(row["verdict"] for row in old)) == (25, 5)
    assert n_decided(plain) >= 10
    assert n_decided(known) >= 12


def test_nothing_that_was_decided_is_taken_back(verdicts, old):
    for found in verdicts:
        for row, verdict in zip(old, found, strict=True):
            assert (row["experiment"], row["say"]) == (verdict.experiment, verdict.say)
            assert row["verdict"] not in DECIDED or verdict.verdict == row["verdict"]


def test_figures_agree_and_no_interval_has_no_width(verdicts):
    for verdict in (verdict for found in verdicts for verdict in found):
        make_bar(verdict)  # refuses where finding and interval disagree
        assert verdict.contrast is None or verdict.contrast.low < verdict.contrast.effect < verdict.contrast.high


def test_what_is_open_says_what_would_tell(verdicts):
    for verdict in verdicts[1]:
        if verdict.verdict in ("open", "leaning"):
            assert "more trainings" in verdict.reason
            assert (verdict.more_runs is None) == (verdict.chance < 0.1)
            assert verdict.found

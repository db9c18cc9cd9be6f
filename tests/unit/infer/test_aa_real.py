"""What benchmarks/aa_real.py counts: bounds against statsmodels, disjoint studies, coverage by hand, a file that was cut off."""

from __future__ import annotations

import importlib.util
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

PATH = Path(__file__).parents[3] / "benchmarks" / "aa_real.py"


@pytest.fixture(scope="module")
def aa():
    spec = importlib.util.spec_from_file_location("aa_real", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["aa_real"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("hits", "n"), [(0, 51), (3, 40), (12, 300), (5, 5)])
def test_bounds_against_statsmodels(aa, hits, n):
    assert aa.clopper_pearson(hits, n) == pytest.approx(proportion_confint(hits, n, 0.05, "beta"), abs=1e-9)


def test_twelve_alarms_in_300_studies_stay_below_seven_percent(aa):
    assert aa.clopper_pearson(12, 300)[1] < 0.07 < aa.clopper_pearson(13, 300)[1]


def test_no_training_and_no_image_seed_serves_twice(aa):
    # every stream and every image seed of an arm is one training's own; the arms of a replicate share their seeds
    studies = [(name, index) for name, own in aa.turns(175) for index in own]
    assert [index for _, index in studies] == list(range(325))
    places = [aa.Place(index, arm, r) for name, index in studies for arm in ("a", "b") for r in range(aa.SUITES[name].runs)]
    assert len({place.stream for place in places}) == len(places) == 175 * aa.STACK
    seeds = sorted(place.seeds for place in places if place.arm == "a")
    assert all(one[-1] < other[0] for one, other in pairwise(seeds))
    assert seeds == sorted(place.seeds for place in places if place.arm == "b")
    assert max(map(max, seeds)) < aa.FIRST_OWN_SEED


def test_the_suites_take_turns(aa):
    names = [name for name, studies in aa.turns(175) for _ in studies]
    assert (names.count("same"), names.count("placebo"), names.count("planted")) == (150, 150, 25)


def test_coverage_by_hand(aa):
    # groups of 4 in order: (0, 1, 2, 3) and (10, 11, 12, 13), 14 is left over; the truth is 7. Each group has sd 1.29, half width
    # 3.182 * 1.29 / 2 = 2.05 around 1.5 and 11.5: neither holds 7; of (6, 7, 8, 9) around 7.5 it does
    assert aa.coverage(np.array([0.0, 1, 2, 3, 10, 11, 12, 13, 11]), 4, 7.0) == (0, 2)
    assert aa.coverage(np.array([6.0, 7, 8, 9, 5.0]), 4, 7.0) == (1, 1)


def test_groups_share_no_base_picture(aa):
    # what a base picture does to both arms of a study enters both: of each study one arm is taken, in turn
    records = [{"effects": {"chroma": {"a": [10.0 * i, 10.0 * i + 1], "b": [10.0 * i + 5, 10.0 * i + 6]}}} for i in range(3)]
    assert aa.apart_effects(records, "chroma").tolist() == [0.0, 1.0, 15.0, 16.0, 20.0, 21.0]


def test_arms_that_share_base_pictures_would_have_been_the_weakness(aa):
    # effects = training - base, the base's share common to both arms: pooled arms hold the truth too seldom, arms apart at 95 %
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 1, (3000, 4, 1)), rng.normal(0, 0.7, (3000, 4, 2))
    arms = shared + own
    records = [{"effects": {"chroma": {"a": one[:, 0].tolist(), "b": one[:, 1].tolist()}}} for one in arms]
    mixed = np.array([e for record in records for arm in "ab" for e in record["effects"]["chroma"][arm]])
    (hits, tried), (wrong, n) = aa.coverage(aa.apart_effects(records, "chroma"), 8, 0.0), aa.coverage(mixed, 8, 0.0)
    assert hits / tried == pytest.approx(0.95, abs=0.02)
    assert wrong / n < 0.90


def test_a_line_that_was_cut_off_is_made_again(aa, tmp_path):
    out, record = tmp_path / "out.jsonl", {"suite": "same", "index": 0, "settings": aa.settings()}
    other = {"suite": "same", "index": 1, "settings": "another"}
    whole = json.dumps(record) + "\n" + json.dumps(other) + "\n"
    out.write_text(whole + '{"suite": "same", "ind', encoding="utf-8")
    assert aa.load_records(out) == [record]
    assert out.read_text(encoding="utf-8") == whole
    assert aa.load_records(tmp_path / "none.jsonl") == []


def test_the_rates_count_studies_not_claims(aa):
    # study 0: two alarms among its claims, study 1: none, study 2: called learned and no alarm between the arms
    def study(index, **found):
        quiet = {"shared": "open", "alone": "open", "learned": "open", "effect": 0.0}
        findings = {measure: quiet | found.get(measure, {}) for measure in aa.MEASURES}
        effects = {measure: {"a": [0.0] * 4, "b": [0.0] * 4} for measure in aa.MEASURES}
        return {"suite": "same", "index": index, "settings": aa.settings(), "runs": 8, "findings": findings, "effects": effects}

    alarm = {"shared": "higher", "alone": "higher"}
    lines = list(aa.summary([study(0, chroma=alarm, change=alarm), study(1), study(2, chroma={"learned": "lower"})]))
    assert "| A/A, both | any claim, arm against arm, is found | at most 5 % | 1 of 3 | 33.3 % | 0.8 to 90.6 % |" in lines
    assert "| A/A, both | anything is called learned | at most 5 % | 1 of 3 | 33.3 % | 0.8 to 90.6 % |" in lines
    assert "| chroma | 1 of 3 | 33.3 % | 0.8 to 90.6 % |" in lines

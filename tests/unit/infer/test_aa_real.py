"""What benchmarks/aa_real.py counts: bounds against statsmodels, disjoint studies, alarms and coverage by hand, a file that was cut off."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

FOLDER = Path(__file__).parents[3] / "benchmarks"
PARTS = {"main": "aa_real", "studies": "aa_studies", "judging": "aa_judging", "summary": "aa_summary", "planted": "aa_planted"}


@pytest.fixture(scope="module")
def aa():
    sys.path.insert(0, str(FOLDER))
    try:
        return SimpleNamespace(**{name: importlib.import_module(file) for name, file in PARTS.items()})
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize(("hits", "n"), [(0, 51), (3, 40), (12, 300), (5, 5)])
def test_bounds_against_statsmodels(aa, hits, n):
    assert aa.summary.clopper_pearson(hits, n) == pytest.approx(proportion_confint(hits, n, 0.05, "beta"), abs=1e-9)


def test_how_many_alarms_in_300_studies_stay_below_five_percent(aa):
    bound = aa.summary.clopper_pearson
    assert bound(7, 300)[1] < 0.05 < bound(8, 300)[1]  # two-sided
    assert bound(8, 300, 0.90)[1] < 0.05 < bound(9, 300, 0.90)[1]  # the upper bound alone at 95 %


def test_no_training_and_no_image_seed_serves_twice(aa):
    # every stream and every image seed of an arm is one training's own; the arms of a replicate share their seeds
    studies = [(name, index) for name, own in aa.main.turns() for index in own]
    assert [index for _, index in studies] == list(range(360))
    suites, place = aa.studies.SUITES, aa.studies.Place
    places = [place(index, arm, r) for name, index in studies for arm in ("a", "b") for r in range(suites[name].runs)]
    assert len({p.stream for p in places}) == len(places) == 330 * aa.studies.STACK
    seeds = sorted(p.seeds for p in places if p.arm == "a")
    assert all(one[-1] < other[0] for one, other in pairwise(seeds))
    assert seeds == sorted(p.seeds for p in places if p.arm == "b")
    assert max(map(max, seeds)) < aa.studies.FIRST_OWN_SEED < aa.studies.FIRST_KNOWN_SEED


def test_the_suites_take_turns(aa):
    names = [name for name, studies in aa.main.turns() for _ in studies]
    assert (names.count("same"), names.count("placebo"), names.count("planted")) == (150, 150, 60)


def test_a_line_that_was_cut_off_is_made_again(aa, tmp_path):
    out, record = tmp_path / "out.jsonl", {"suite": "same", "index": 0, "settings": aa.main.settings()}
    other = {"suite": "same", "index": 1, "settings": "another"}
    whole = json.dumps(record) + "\n" + json.dumps(other) + "\n"
    out.write_text(whole + '{"suite": "same", "ind', encoding="utf-8")
    cut_off = out.read_text(encoding="utf-8")
    assert aa.main.load_records(out, aa.main.settings(), mend=False) == [record]
    assert out.read_text(encoding="utf-8") == cut_off  # a summary changes nothing: somebody may be writing
    assert aa.main.load_records(out, aa.main.settings()) == [record]
    assert out.read_text(encoding="utf-8") == whole
    assert aa.main.load_records(tmp_path / "none.jsonl", "") == []


def test_a_summary_tells_what_is_there_whatever_version_made_it(aa, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.jsonl"
    records = [study(aa, index) | {"settings": "earlier"} for index in range(2)]
    out.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["aa_real.py", str(out), "--summary", "--markdown", str(tmp_path / "page.md")])
    aa.main.main()
    assert "0 of 2" in capsys.readouterr().out
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "settings earlier" in page
    assert "2 of 150 *same*" in page
    monkeypatch.setattr(sys, "argv", ["aa_real.py", str(tmp_path / "none.jsonl"), "--summary"])
    with pytest.raises(SystemExit):
        aa.main.main()


def test_a_field_that_comes_later_at_its_default_renames_no_settings(aa):
    recipe = aa.studies.BRIEF
    assert aa.main.slice_of(recipe) == aa.main.slice_of(type(recipe)(rank=2, lr=2e-2, steps=4, batch=1))
    assert "loss" not in aa.main.slice_of(recipe)


def study(aa, index, found=(), effects=0.0, interval=(-1.0, 1.0)):
    """A record in which everything is open but what ``found`` names: {(look, experiment, instrument): finding}."""
    looks = {}
    for look in aa.studies.LOOKS:
        told = {which: dict.fromkeys(aa.studies.MEASURES, "open") for which in ("between", "learned")}
        for (when, which, measure), finding in dict(found).items():
            told[which][measure] = finding if when == look else told[which][measure]
        alone = {which: {m: list(interval) for m in aa.studies.MEASURES} for which in ("between", "learned")}
        looks[str(look)] = {"any": told, "usual": told, "alone": alone}
    own = {m: {arm: [effects] * 16 for arm in "ab"} for m in aa.studies.MEASURES}
    return {"suite": "same", "index": index, "settings": aa.main.settings(), "base": "0", "looks": looks, "effects": own}


def test_the_rates_count_studies_not_claims(aa):
    # study 0: two alarms at the first look, study 1: none, study 2: one at the second look, and called learned
    first = {(8, "between", "chroma"): "higher", (8, "between", "change"): "some lower"}
    last = {(16, "between", "chroma"): "lower", (16, "learned", "chroma"): "lower"}
    lines = list(aa.summary.summary([study(aa, 0, first), study(aa, 1), study(aa, 2, last)]))
    assert "| A/A, both | arm against arm, at either look | at most 5 % | 2 of 3 | 66.7 % | 9.4 to 99.2 % |" in lines
    assert "| A/A, both | learned, against base and placebo, at either look | at most 5 % | 1 of 3 | 33.3 % | 0.8 to 90.6 % |" in lines
    assert "| A/A, both | anything at all, at 8 trainings | | 1 of 3 | 33.3 % | 0.8 to 90.6 % |" in lines


def test_no_change_that_counts_is_no_alarm(aa):
    quiet = study(aa, 0, {(8, "between", "chroma"): "no change", (16, "learned", "change"): "not higher"})
    assert not aa.summary.says_false(quiet, "any", "either")


def test_coverage_over_studies_by_hand(aa):
    # the truth is the mean of all trainings, (0 + 3) / 2 = 1.5: intervals of -1 to 1 miss it, of 1 to 2 hold it
    records = [study(aa, 0, effects=0.0, interval=(-1, 1)), study(aa, 1, effects=3.0, interval=(1, 2))]
    truths = aa.summary.truths_of(records)
    assert set(truths.values()) == {1.5}
    assert [aa.summary.held(record, 8, "learned", truths) for record in records] == [0.0, 1.0]
    # mean .5, sd .7071, half width t(1) .7071 / sqrt(2) = 12.706 * .5
    assert aa.summary.mean_share([0.0, 1.0]) == "50.0 % (-585.3 to 685.3)"


def readings_of(aa, shift, seed=0):
    """Readings of a study of 16 trainings: arms a and b and the base, arm a moved by ``shift`` in every instrument."""
    rng, rows = np.random.default_rng(seed), []
    for measure in aa.studies.MEASURES:
        share = measure == "shape_primitive"
        for r in range(16):
            for s in range(aa.studies.SEEDS):
                for arm, moved in (("a", shift), ("b", 0.0), ("base", 0.0)):
                    value = float(rng.random() < 0.5) if share else rng.normal(20, 1) + moved
                    at = (arm, arm == "base", r, aa.studies.PROMPT, 0.0 if arm == "base" else 1.0, None, r * aa.studies.SEEDS + s)
                    rows.append((*at, measure, value, "measured", None))
    names = ("arm", "is_base", "replicate", "prompt", "strength", "step", "seed", "measure", "value", "status", "reason")
    types = {"step": pl.Int64, "reason": pl.String}
    return pl.DataFrame(rows, schema=list(names), schema_overrides=types, orient="row")


def test_the_rule_is_asked_at_both_looks_and_finds_what_is_there(aa):
    found = aa.judging.judged(readings_of(aa, 12.0), {}, {})
    assert list(found) == ["8", "16"]
    assert found["8"]["any"]["between"]["chroma"] == found["16"]["usual"]["learned"]["chroma"] == "higher"
    low, high = found["16"]["alone"]["between"]["chroma"]
    assert 11 < low < 12 < high < 13
    still = aa.judging.judged(readings_of(aa, 0.0), {}, {})
    assert {still[look]["usual"]["between"]["local_contrast"] for look in ("8", "16")} == {"no change"}


def test_the_planned_chance_of_a_planted_change_is_that_of_the_rule(aa):
    # without scatter a change beyond the smallest that counts is certain, one within it is never found; more scatter, less chance
    steady = np.full(16, -20.0) + np.linspace(-1e-6, 1e-6, 16)
    assert aa.planted.chances_of(steady, "copy_distance", 1).tolist() == [1.0, 1.0]
    assert aa.planted.chances_of(steady / 10, "copy_distance", 1).tolist() == [0.0, 0.0]
    scatter = np.tile([-1.0, 1.0], 8)
    chances = [aa.planted.chances_of(-12 + size * scatter, "copy_distance", 1) for size in (2, 6, 12)]
    assert chances[0][0] > chances[1][0] > chances[2][0]
    assert chances[2][1] > chances[2][0]


def pilot_of(steps, first, second):
    told = {"change": 1.0, "spread": 0.1, "chances": {"between": [first, second], "learned": [first, second]}}
    return {"pilot": steps, "hue_red": told, "copy_distance": told}


def test_dose_and_look_are_those_of_the_plan(aa):
    best, look = aa.planted.chosen([pilot_of(16, 0.2, 0.5), pilot_of(32, 0.9, 0.98)])
    assert (best["pilot"], look) == (32, 16)
    assert aa.planted.chosen([pilot_of(16, 0.97, 0.99)])[1] == 8
    with pytest.raises(SystemExit, match="no dose"):
        aa.planted.chosen([pilot_of(16, 0.2, 0.5)])


def test_the_page_of_planted_changes_counts_by_hand(aa):
    right, half = {"hue_red": 8, "copy_distance": 16}, {"hue_red": None, "copy_distance": 16}
    studies = [{"index": i, "found": {"between": right, "learned": half if i else right}} for i in range(4)]
    page = aa.planted.page([pilot_of(16, 0.2, 0.98), *studies])
    assert "| hue_red higher by more than 0.1, against a placebo | 98.0% | 4 of 4 |" in page
    assert "| hue_red higher by more than 0.1, learned, by the whole rule | 98.0% | 1 of 4 |" in page
    assert "| 16 | 1, 0.1 | 1, 0.1 | 20.0%, 98.0% |" in page


def test_a_planted_change_is_found_at_the_first_look_that_tells_it(aa):
    looks = {"8": {"usual": {"between": {"hue_red": "some higher"}}}, "16": {"usual": {"between": {"hue_red": "higher"}}}}
    assert aa.planted.found_at(looks, "between", "hue_red") == 16
    looks["16"]["usual"]["between"]["hue_red"] = "lower"
    assert aa.planted.found_at(looks, "between", "hue_red") is None


def test_an_instrument_that_is_wrong_too_often_is_named(aa):
    # 30 of 300 intervals leave out 0: 6.8 to 14 %
    records = [study(aa, index, interval=(0.5, 1.0) if index < 30 else (-1.0, 1.0)) for index in range(300)]
    assert set(aa.summary._beyond(records)) == {f"{m} at {look} trainings" for m in aa.studies.MEASURES for look in aa.studies.LOOKS}
    assert list(aa.summary._beyond([study(aa, index) for index in range(300)])) == []


def test_a_planted_change_is_shown_with_its_size_and_scatter(aa):
    records = [study(aa, index) | {"suite": "planted"} for index in range(3)]
    for record, size in zip(records, (1.0, 2.0, 3.0), strict=True):
        record["effects"] = {m: {"a": [size] * 8, "b": [0.0] * 8} for m in aa.studies.MEASURES}
    assert aa.summary.planted_changes(records, "hue_red").tolist() == [1.0, 2.0, 3.0]
    assert any("| 2 | 1 | 0 of 3 |" in line for line in aa.summary._planted(records))

"""What must not matter, and what must: symmetries of ``judge``, and wrong twins of the estimator that the checks catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import loralab.infer.case
from loralab.infer.comparison import read_sample
from loralab.infer.findings import zone_of
from loralab.infer.judge import ControlCells, judge
from loralab.infer.pairs import CellReadings, RunEffects, run_effects
from loralab.infer.verdict import Contrast
from loralab.spec.cells import Cell
from loralab.spec.questions import QuestionId

ROOT = 20_260_711
ARM, BASE, PLACEBO = 'arm @ "p"', 'base @ "p"', 'placebo @ "p"'
MIRRORED = {"higher": "lower", "some higher": "some lower", "not higher": "not lower", "no drop": "no rise", "no change": "no change"}
MIRRORED |= {other: one for one, other in MIRRORED.items()} | {"open": "open", None: None}
FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def decide(frame, experiment, facts):
    def decide(values, expect="higher", measure_facts=None):
        readings = values if isinstance(values, pl.DataFrame) else frame({name: v.tolist() for name, v in values.items()})
        return judge(
            experiment({"expect": expect}),
            readings,
            training={},
            instruments={"m": measure_facts or facts(low=-500.0, high=500.0)},
            controls={QuestionId("exp", "claim", 0): ControlCells(Cell("placebo", "p"), None)},
        )[0]

    return decide


def study(seed: int, effect: float, n_runs: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([ROOT, seed])
    base = rng.normal(0, 20, (n_runs, 3))  # seeds differ far more than arms do: only pairs see the effect
    arm = base + effect + rng.normal(0, 1, (n_runs, 1)) + rng.normal(0, 0.5, (n_runs, 3))
    placebo = base + rng.normal(0, 1, (n_runs, 1)) + rng.normal(0, 0.5, (n_runs, 3))
    return {ARM: arm, BASE: base, PLACEBO: placebo}


STUDIES = st.builds(study, st.integers(0, 10_000), st.sampled_from([-6.0, -2.0, 0.0, 2.0, 6.0]))


@FAST
@given(STUDIES)
def test_flipping_signs_flips_findings(decide, values):
    ours = decide(values)
    flipped = decide({name: -v for name, v in values.items()}, expect="lower")
    assert flipped.finding == MIRRORED[ours.finding]
    assert flipped.verdict == ours.verdict
    assert flipped.controls[0].status == ours.controls[0].status
    assert (flipped.contrast.low, flipped.contrast.high) == pytest.approx((-ours.contrast.high, -ours.contrast.low))


@FAST
@given(STUDIES, st.floats(-300, 300))
def test_a_constant_on_both_sides_changes_nothing(decide, values, constant):
    ours, moved = decide(values), decide({name: v + constant for name, v in values.items()})
    assert (moved.finding, moved.verdict, moved.more_runs) == (ours.finding, ours.verdict, ours.more_runs)
    assert (moved.contrast.effect, moved.contrast.low) == pytest.approx((ours.contrast.effect, ours.contrast.low))


@FAST
@given(STUDIES, st.permutations(range(6)))
def test_permuting_replicates_changes_nothing(decide, values, order):
    ours, permuted = decide(values), decide({name: v[list(order)] for name, v in values.items()})
    assert (permuted.finding, permuted.verdict, permuted.reason) == (ours.finding, ours.verdict, ours.reason)
    assert permuted.contrast.p_sign_flip == ours.contrast.p_sign_flip
    assert permuted.contrast.run_effects == pytest.approx([ours.contrast.run_effects[i] for i in order])


@FAST
@given(STUDIES, st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(decide, frame, values, seed):
    readings = frame({name: v.tolist() for name, v in values.items()})
    assert decide(readings.sample(fraction=1.0, shuffle=True, seed=seed)) == decide(readings)


@FAST
@given(STUDIES)
def test_figure_and_verdict_come_from_the_same_interval(decide, values):
    verdict = decide(values, expect="no change")
    low, high, margin = verdict.contrast.low, verdict.contrast.high, verdict.margin
    told = {"higher": low > margin, "lower": high < -margin, "no change": -margin <= low and high <= margin}
    assert {name for name, holds in told.items() if holds} == ({verdict.finding} & set(told))
    assert verdict.cell_mean - verdict.versus_mean == pytest.approx(verdict.contrast.effect)


# --- sabotage: each check passes on the real estimator and catches its wrong twin -------------------------------------------------

Estimator = Callable[..., RunEffects]


def check_known_runs(estimator: Estimator) -> None:
    """Run r raises each picture by r + 1 over a base whose pictures and runs differ a lot, and one picture is missing."""
    replicate, seed = np.repeat(np.arange(4), 3), np.arange(12)
    base = np.random.default_rng(ROOT).normal(0, 50, 12)
    arm = CellReadings(replicate, seed, base + replicate + 1, np.ones(12, bool))
    lacking = np.delete(np.arange(12), 4)  # run 1 of the base lacks a seed
    other = CellReadings(replicate[lacking], seed[lacking], base[lacking], np.ones(11, bool))
    runs = estimator((arm, other), (1, -1), "continuous")
    assert runs.replicates == (0, 1, 2, 3)
    assert np.abs(runs.effects - np.arange(1, 5)).max() < 1e-9


def flipped_sign(sides, weights, kind):
    return run_effects(sides, tuple(-w for w in weights), kind)


def off_by_one_replicate(sides, weights, kind):
    """The second side's runs are taken one further: run r against run r + 1 of the base."""
    moved = [sides[0], *(CellReadings((s.replicate + 1) % 4, (s.seed + 3) % 12, s.value, s.measured) for s in sides[1:])]
    return run_effects(tuple(moved), weights, kind)


def off_by_one_seed(sides, weights, kind):
    moved = [sides[0], *(CellReadings(s.replicate, np.roll(s.seed, 1), s.value, s.measured) for s in sides[1:])]
    return run_effects(tuple(moved), weights, kind)


def unpaired(sides, weights, kind):
    """Each side's run mean over whatever pictures it has, pairs or not."""
    runs = np.unique(sides[0].replicate)
    means = np.stack([[side.value[side.replicate == r].mean() for r in runs] for side in sides])
    return RunEffects(tuple(runs.tolist()), np.asarray(weights) @ means, means, len(sides[0].value), False)


def pooled_pictures(sides, weights, kind):
    """Every picture a run of its own: the error that inflates false alarms."""
    single = tuple(CellReadings(s.seed, s.seed, s.value, s.measured) for s in sides)
    return run_effects(single, weights, kind)


TWINS = [flipped_sign, off_by_one_replicate, off_by_one_seed, unpaired, pooled_pictures]


def test_the_estimator_passes():
    check_known_runs(run_effects)


@pytest.mark.parametrize("twin", TWINS)
def test_wrong_twins_of_the_estimator_are_caught(twin):
    with pytest.raises(AssertionError):
        check_known_runs(twin)


def check_planted_effect(decide) -> None:
    """A planted rise of 6 is found, with its size and on its runs."""
    verdict = decide(study(1, 6.0))
    assert (verdict.finding, verdict.verdict) == ("higher", "supported")
    assert abs(verdict.contrast.effect - 6) < 1.5
    assert verdict.contrast.n_runs == 6


def test_judge_passes(decide):
    check_planted_effect(decide)


def flipped_pairs(comparison, sides, kind, known):
    return replace(read_sample(comparison, sides, kind, known), z=-read_sample(comparison, sides, kind, known).z)


def off_by_one_training(comparison, sides, kind, known):
    """The base's values move on by one training of three pictures."""
    moved = [sides[0], *(CellReadings(s.replicate, s.seed, np.roll(s.value, 3), s.measured) for s in sides[1:])]
    return read_sample(comparison, moved, kind, known)


def pictures_for_trainings(comparison, sides, kind, known):
    single = [CellReadings(s.seed, s.seed, s.value, s.measured) for s in sides]
    return read_sample(comparison, single, kind, known)


@pytest.mark.parametrize("twin", [flipped_pairs, off_by_one_training, pictures_for_trainings])
def test_judge_with_a_wrong_estimator_is_caught(decide, monkeypatch, twin):
    monkeypatch.setattr(loralab.infer.case, "read_sample", twin)
    with pytest.raises(AssertionError):
        check_planted_effect(decide)


def check_margin_is_kept(rule) -> None:
    """An interval that leaves 0 but not the margin is no change of that size; one inside the margin is none that counts."""
    assert rule(Contrast(2, 0.5, 3.5, 0.95, 3, 3, None, (1, 2, 3)), 1.0) == "some higher"
    assert rule(Contrast(0.5, 0.1, 0.9, 0.95, 3, 3, None, (0.4, 0.5, 0.6)), 1.0) == "no change"


def test_a_rule_that_ignores_the_margin_is_caught():
    check_margin_is_kept(zone_of)
    with pytest.raises(AssertionError):
        check_margin_is_kept(lambda contrast, margin: zone_of(contrast, 0.0))

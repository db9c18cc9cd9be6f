"""Pairing: which pictures make a run's effect, and what happens to those that could not be measured."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from loralab.errors import LabError
from loralab.infer.pairs import cell_readings, check_readings, run_effects
from loralab.spec.cells import parse_cell


def effects_of(readings, one, other, kind="continuous"):
    sides = tuple(cell_readings(readings, parse_cell(text), "m") for text in (one, other))
    return run_effects(sides, (1, -1), kind)


def test_run_effect_is_the_mean_paired_difference(frame):
    # run 0: 12 - 10 and 15 - 11, mean 3; run 1: 20 - 19 and 20 - 15, mean 3; run 2: 5 - 5 and 6 - 4, mean 1
    readings = frame({'arm @ "p"': [[12, 15], [20, 20], [5, 6]], 'base @ "p"': [[10, 11], [19, 15], [5, 4]]})
    runs = effects_of(readings, 'arm @ "p"', 'base @ "p"')
    assert runs.effects.tolist() == [3, 3, 1]
    assert runs.replicates == (0, 1, 2)
    assert runs.n_pairs == 6
    assert runs.side_means.tolist() == [[13.5, 20, 5.5], [10.5, 17, 4.5]]


def test_rows_may_come_in_any_order(frame):
    readings = frame({'arm @ "p"': [[12, 15], [20, 20], [5, 6]], 'base @ "p"': [[10, 11], [19, 15], [5, 4]]})
    shuffled = readings.sample(fraction=1.0, shuffle=True, seed=7)
    assert effects_of(shuffled, 'arm @ "p"', 'base @ "p"').effects.tolist() == [3, 3, 1]


def test_cells_at_different_prompts_pair_by_seed(frame):
    readings = frame({'arm @ "p"': [[5, 100]], 'arm @ "q"': [[4, 90]]})
    assert effects_of(readings, 'arm @ "p"', 'arm @ "q"').effects.tolist() == [5.5]


def test_a_seed_that_one_side_lacks_is_left_out(frame):
    readings = frame({'arm @ "p"': [[5, 100]], 'base @ "p"': [[4, 90]]})
    gone = readings.filter(~((pl.col("arm") == "base") & (pl.col("seed") == 1)))
    runs = effects_of(gone, 'arm @ "p"', 'base @ "p"')
    assert runs.effects.tolist() == [1]
    assert runs.n_pairs == 1


def test_a_missing_run_is_left_out_on_both_sides(frame):
    readings = frame({'arm @ "p"': [[2], None, [4]], 'base @ "p"': [[1], [1], [1]]})
    runs = effects_of(readings, 'arm @ "p"', 'base @ "p"')
    assert runs.replicates == (0, 2)
    assert runs.effects.tolist() == [1, 3]


def test_unmeasurable_counts_as_no_for_a_share_and_is_left_out_otherwise(frame):
    readings = frame({'arm @ "p"': [[1.0, None]], 'base @ "p"': [[0.0, 1.0]]})
    # share: pairs 1 - 0 and 0 - 1; continuous: only the first pair
    assert effects_of(readings, 'arm @ "p"', 'base @ "p"', "share").effects.tolist() == [0]
    continuous = effects_of(readings, 'arm @ "p"', 'base @ "p"')
    assert continuous.effects.tolist() == [1]
    assert continuous.n_pairs == 1


def test_four_sides_make_a_difference_of_differences(frame):
    readings = frame({'a @ "p"': [[9]], 'base @ "p"': [[2]], 'a @ "q"': [[5]], 'base @ "q"': [[1]]})
    sides = tuple(cell_readings(readings, parse_cell(t), "m") for t in ('a @ "p"', 'base @ "p"', 'a @ "q"', 'base @ "q"'))
    assert run_effects(sides, (1, -1, -1, 1), "continuous").effects.tolist() == [3]  # (9 - 2) - (5 - 1)


def test_no_shared_run_gives_no_effect(frame):
    readings = frame({'arm @ "p"': [[1], None], 'base @ "p"': [None, [1]]})
    runs = effects_of(readings, 'arm @ "p"', 'base @ "p"')
    assert (runs.n_runs, runs.n_pairs) == (0, 0)


def test_strength_and_step_choose_the_cell_but_not_for_the_base(frame):
    cells = {'a @ "p"': [[1]], 'a @ "p", strength 0.5': [[2]], 'a @ "p", step 32': [[3]], 'a @ "p", strength 0.5, step 32': [[4]]}
    readings = frame(cells).with_columns(pl.lit(0.0).alias("keep")).drop("keep")
    for text, runs in cells.items():
        assert cell_readings(readings, parse_cell(text), "m").value.tolist() == runs[0]
    base = frame({'base @ "p"': [[7]]}).with_columns(pl.lit(0.0).alias("strength"))
    assert cell_readings(base, parse_cell('base @ "p"'), "m").value.tolist() == [7]


def test_few_valued_readings_are_told_from_a_continuum(frame):
    few = frame({'arm @ "p"': [[1, 0], [1, 1]], 'base @ "p"': [[0, 0], [0, -0.5]]})
    many = frame({'arm @ "p"': [[1, 0.1], [1, 0.7]], 'base @ "p"': [[0, 0.2], [0, 0]]})
    assert effects_of(few, 'arm @ "p"', 'base @ "p"').few_valued
    assert not effects_of(many, 'arm @ "p"', 'base @ "p"').few_valued


def test_a_constant_on_both_sides_changes_nothing(frame):
    rng = np.random.default_rng(20_260_711)
    a, b = rng.normal(size=(2, 5, 3))
    plain = effects_of(frame({'a @ "p"': a.tolist(), 'base @ "p"': b.tolist()}), 'a @ "p"', 'base @ "p"')
    moved = effects_of(frame({'a @ "p"': (a + 40).tolist(), 'base @ "p"': (b + 40).tolist()}), 'a @ "p"', 'base @ "p"')
    assert np.abs(plain.effects - moved.effects).max() < 1e-12
    assert np.abs(plain.effects - (a - b).mean(axis=1)).max() < 1e-12


def test_a_picture_read_twice_is_an_error(frame):
    readings = frame({'arm @ "p"': [[1, 2]]})
    with pytest.raises(LabError, match=r'arm @ "p": a picture has two readings of m'):
        cell_readings(pl.concat([readings, readings.head(1)]), parse_cell('arm @ "p"'), "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.drop("seed"), "no column seed"),
        (lambda r: r.with_columns(pl.lit("lost").alias("status")), "the status 'lost'"),
        (lambda r: r.with_columns(pl.lit(float("nan")).alias("value")), "marked as measured but have no finite value"),
        (lambda r: r.with_columns(pl.lit(None, pl.Float64).alias("value")), "marked as measured but have no finite value"),
    ],
)
def test_readings_that_break_the_contract_are_refused(frame, change, message):
    with pytest.raises(LabError, match=message):
        check_readings(change(frame({'arm @ "p"': [[1, 2]]})))

"""Arms on bases of their own: which base a claim reads, and two arms on two bases compared by what each changes on its own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from loralab.infer.judge import OwnBases, judge
from loralab.spec import BASE, BaseSource
from loralab.spec.cells import Cell

FAR = BaseSource("far")

#: effects of 8 trainings: sum of squares 7.5, standard error .3660; at the first look (tests/support/judged.py) a half width of .9324.
WOBBLE = np.array([-1.5, -1, -0.5, -0.5, 0.5, 0.5, 1, 1.5])


def runs(level: float, wobble: np.ndarray) -> list[list[float]]:
    """Two pictures a run, which differ by the seed's own level."""
    return [[level + seed_level + wobble[r] for seed_level in (r, -r)] for r in range(8)]


@pytest.fixture
def readings(frame):
    """The arms read 35 and 52; their bases 30 and 50: each on its own changes by 5 and by 2."""
    flat = np.zeros(8)
    cells = {
        'near @ "p"': runs(35, WOBBLE), 'base @ "p"': runs(30, flat), 'far @ "p"': runs(52, flat), 'theirs @ "p"': runs(50, flat),
    }  # fmt: skip
    return frame(cells).with_columns(pl.col("arm").replace({"theirs": "base of far"}), is_base=pl.col("arm").is_in(["base", "theirs"]))


def decide(readings, experiment, instruments, **claim):
    own = OwnBases({"near": BASE, "far": FAR}, {BASE: instruments[0], FAR: instruments[1]})
    return judge(
        experiment(claim), readings, training={("far", "m"): 60.0}, instruments=instruments[0],
        controls={}, own=own,
    )[0]  # fmt: skip


def test_two_arms_on_two_bases_are_compared_by_what_each_changes(readings, experiment, facts):
    tables = ({"m": facts()}, {"m": facts()})
    verdict = decide(readings, experiment, tables, cell='near @ "p"', versus='far @ "p"')
    # (35 - 30) - (52 - 50) = 3, where the pictures as such differ by 35 - 52 = -17
    assert verdict.contrast.effect == pytest.approx(3)
    assert verdict.contrast.low == pytest.approx(3 - 0.9324, abs=1e-3)
    assert (verdict.finding, verdict.verdict) == ("higher", "supported")
    assert "difference from its own base" in verdict.reason
    assert verdict.cell_mean - verdict.versus_mean == pytest.approx(3)  # the side that stands for zero, on this axis


def test_gap_and_difference_are_those_of_the_arms_own_base(readings, experiment, facts):
    tables = ({"m": facts()}, {"m": facts()})
    claim = experiment({"cell": 'far @ "p"', "expect": "higher"})["exp"].claims[0].model_copy(update={"versus": Cell(FAR, "p")})
    own = OwnBases({"far": FAR}, {FAR: tables[1]})
    spec = {"exp": experiment()["exp"].model_copy(update={"claims": (claim,)})}
    verdict = judge(spec, readings, training={("far", "m"): 60.0}, instruments={}, controls={}, own=own)[0]
    assert verdict.contrast.effect == pytest.approx(2)
    assert verdict.gap == pytest.approx(10)
    assert verdict.versus == 'base of far @ "p"'
    assert verdict.verdict == "open"  # without a placebo on that base nothing is called learned
    assert [check.status for check in verdict.controls] == ["not_run"]


def test_the_worse_of_two_cards_counts(readings, experiment, facts):
    tables = ({"m": facts(error=0.1)}, {"m": facts(error=9.0)})
    verdict = decide(readings, experiment, tables, cell='near @ "p"', versus='far @ "p"')
    # two differences of 9 on a picture each, over 16 pairs: 9 * 2 / 4 = 4.5 on either side
    assert (verdict.contrast.low, verdict.contrast.high) == pytest.approx((3 - 4.5, 3 + 4.5))
    blind = ({"m": facts()}, {"m": facts(carried=False, note="too small")})
    assert "too small" in decide(readings, experiment, blind, cell='near @ "p"', versus='far @ "p"').reason

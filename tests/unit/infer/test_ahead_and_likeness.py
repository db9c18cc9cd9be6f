"""Two claims that are no plain change: which of two readings is further on its way, and how much of the scatter is the trainings'."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy import stats

from loralab.infer.case import ControlCells
from loralab.infer.judge import judge
from loralab.infer.verdict import Verdict, read_by
from loralab.report.sentences import in_short
from loralab.spec.models import ExperimentSpec
from loralab.spec.questions import QuestionId

CELL, BASE_CELL, PLACEBO = 'arm @ "p"', 'base @ "p"', 'placebo @ "p"'
TRAINED = {"colour": 0.9, "shape": 0.7}


def verdict_of(frame: Any, facts: Any, readings: pl.DataFrame, claim: dict[str, Any], trained: dict[str, float] | None = None) -> Verdict:
    full = {"say": "?", "cell": CELL, "expect": "higher", "margin_absolute": 0.25} | claim
    spec = ExperimentSpec(question="?", claims=(full,))  # type: ignore[arg-type]
    kinds = {name: facts(name, kind="share", low=0.0, high=1.0, unit="share") for name in ("colour", "shape")}
    controls = {} if claim.get("between_trainings") else {QuestionId("exp", "claim", 0): ControlCells(_cell(PLACEBO), None)}
    told = {("arm", name): value for name, value in (trained or TRAINED).items()}
    return judge({"exp": spec}, readings, training=told, instruments=kinds, controls=controls)[0]


def _cell(text: str) -> Any:
    from loralab.spec.cells import parse_cell

    return parse_cell(text)


def drawn(frame: Any, colour: float, shape: float, runs: int = 8, pictures: int = 6, seed: int = 0) -> pl.DataFrame:
    """Return readings of an arm at these means, with the base at .1 and the placebo as the base."""
    generator = np.random.default_rng(seed)

    def around(mean: float) -> list[list[float]]:
        return (mean + 0.05 * generator.standard_normal((runs, pictures))).tolist()

    parts = [
        frame({BASE_CELL: around(0.1), CELL: around(mean), PLACEBO: around(0.1)}, measure=name)
        for name, mean in (("colour", colour), ("shape", shape))
    ]
    return pl.concat(parts)


def test_the_difference_of_two_ways_by_hand(frame, facts):
    # colour: .1 to .5 of a way from .1 to .9 is a half; shape: .1 to .25 of a way from .1 to .7 is a quarter
    found = verdict_of(frame, facts, drawn(frame, 0.5, 0.25), {"measure": "colour", "ahead_of": "shape", "margin_absolute": 0.1})
    assert found.contrast is not None
    assert found.contrast.effect == pytest.approx(0.25, abs=0.03)
    assert (found.verdict, found.finding, found.measure) == ("supported", "higher", "lead[colour]")
    assert in_short(found).startswith("further ahead on its way, by ")
    assert in_short(found).endswith(" points")
    assert [control.status for control in found.controls] == ["passed"]
    back = verdict_of(frame, facts, drawn(frame, 0.5, 0.25), {"measure": "shape", "ahead_of": "colour", "margin_absolute": 0.1})
    assert back.contrast is not None
    assert back.contrast.effect == pytest.approx(-found.contrast.effect, abs=1e-9)
    assert back.verdict == "contradicted"


def test_the_same_part_of_both_ways_is_no_lead_and_a_way_of_nothing_cannot_be_measured(frame, facts):
    level = drawn(frame, 0.5, 0.4)  # half of each way
    assert verdict_of(frame, facts, level, {"measure": "colour", "ahead_of": "shape", "expect": "no change"}).verdict == "supported"
    short = verdict_of(frame, facts, level, {"measure": "colour", "ahead_of": "shape"}, {"colour": 0.9, "shape": float(_base_mean(level))})
    assert short.verdict == "not_measurable"
    assert "differ too little in shape to say how much of the way was made" in short.reason


def _base_mean(readings: pl.DataFrame) -> Any:
    return readings.filter((pl.col("measure") == "shape") & pl.col("is_base"))["value"].mean()


def likeness(frame: Any, facts: Any, between: float, seed: int, runs: int = 32, margin: float = 0.25, **claim: Any) -> Verdict:
    generator = np.random.default_rng(seed)
    within = np.sqrt(1 - between**2)
    means = between * generator.standard_normal((runs, 1))
    arm = 0.5 + 0.1 * (means + within * generator.standard_normal((runs, 12)))
    readings = frame({BASE_CELL: np.full((runs, 12), 0.1).tolist(), CELL: arm.tolist()}, measure="colour")
    return verdict_of(frame, facts, readings, {"measure": "colour", "between_trainings": True, "margin_absolute": margin} | claim)


def test_planted_likeness_is_found_with_its_share(frame, facts):
    found = likeness(frame, facts, between=0.8, seed=1)  # .8^2 = .64 of the variance
    assert found.contrast is not None
    assert found.contrast.low < 0.64 < found.contrast.high
    assert (found.verdict, found.controls) == ("supported", ())
    assert found.found.startswith(f"{100 * found.contrast.effect:.0f} % of the scatter lies between trainings (")
    assert in_short(found).startswith("more of the scatter between trainings, by ")
    assert (read_by("likeness[hue[orange]]"), read_by("hue[orange]"), read_by(found.measure)) == ("hue[orange]", "hue[orange]", "colour")
    none = likeness(frame, facts, between=0.0, seed=1)
    assert (none.finding, none.verdict) == ("no change", "contradicted")
    assert likeness(frame, facts, between=0.0, seed=1, expect="no change").verdict == "supported"


def test_where_trainings_do_not_differ_a_direction_is_seldom_seen(frame, facts):
    """A/A: the lower end of the F interval is above 0 in at most half of the two-sided rate, .0149 at 32 trainings."""
    wrong = sum(likeness(frame, facts, between=0.0, seed=seed).contrast.low > 0 for seed in range(300))  # type: ignore[union-attr]
    assert wrong <= stats.binom.ppf(0.999, 300, 0.0149 / 2)


def test_an_interval_of_likeness_covers(frame, facts):
    """Of the intervals at 32 trainings (98.5 %) about 1.5 of 100 miss a true .36."""
    found = [likeness(frame, facts, between=0.6, seed=seed).contrast for seed in range(300)]
    missed = sum(not contrast.low <= 0.36 <= contrast.high for contrast in found)  # type: ignore[union-attr]
    assert missed <= stats.binom.ppf(0.999, 300, 0.0149)


def test_one_picture_a_training_tells_no_likeness(frame, facts):
    readings = frame({BASE_CELL: [[0.1]] * 8, CELL: [[0.1 * k] for k in range(8)]}, measure="colour")
    found = verdict_of(frame, facts, readings, {"measure": "colour", "between_trainings": True})
    assert found.verdict == "not_measurable"
    assert "only one picture per training" in found.reason


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"ahead_of": "shape", "between_trainings": True}, "different claims"),
        ({"ahead_of": "shape", "versus": 'other @ "p"'}, "an arm and its base"),
        ({"between_trainings": True, "effect": "rank"}, "an arm and its base"),
        ({"ahead_of": "shape", "margin_absolute": None}, "needs `margin_absolute`"),
        ({"between_trainings": True, "expect": "lower"}, "cannot be below 0"),
    ],
)
def test_what_does_not_go_together_is_refused(claim: dict[str, Any], said: str):
    full = {"say": "?", "measure": "colour", "cell": CELL, "expect": "higher", "margin_absolute": 0.25} | claim
    with pytest.raises(ValidationError, match=said):
        ExperimentSpec(question="?", claims=(full,))  # type: ignore[arg-type]

"""The bar's geometry is the interval's numbers, and neither chip nor finding can disagree with it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from factory import article_verdicts, control, make_contrast, make_verdict

from loralab.errors import LabError
from loralab.infer.verdict import Contrast
from loralab.report.bars import make_bar, nice_ticks, training_effect, zone_of


def contrast(low: float, high: float, runs: tuple[float, ...] = ()) -> Contrast:
    return Contrast((low + high) / 2, low, high, 0.95, 8, 32, 0.01, runs)


def test_positions_by_hand() -> None:
    # values from -10 to 10 on an axis that keeps 4 % free at both ends: x = 4 + 92 (v + 10) / 20
    bar = make_bar(make_verdict(contrast(-10, -5), 10 / 1.1, training_mean=None))
    assert bar is not None
    assert (bar.whisker.low, bar.whisker.high, bar.whisker.effect) == pytest.approx((4, 27, 15.5))
    assert bar.zero == pytest.approx(50)


def test_positions_are_linear_in_the_numbers() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        shown = make_contrast(rng, rng.normal(0, 10), rng.uniform(0.1, 5))
        verdict = make_verdict(shown, rng.uniform(0.5, 8), versus_mean=20.0, training_mean=20.0 + rng.normal(0, 15))
        bar = make_bar(verdict)
        assert bar is not None
        assert bar.zone is not None
        values = [shown.low, shown.high, shown.effect, -verdict.margin, verdict.margin, 0.0, *shown.run_effects]
        places = [bar.whisker.low, bar.whisker.high, bar.whisker.effect, *bar.zone, bar.zero, *(dot.x for dot in bar.dots)]
        if bar.training is not None:
            values, places = [*values, training_effect(verdict)], [*places, bar.training]
        slope, intercept = np.polyfit(values, places, 1)
        assert slope > 0
        assert np.allclose(places, slope * np.array(values) + intercept, atol=1e-6)
        assert all(0 <= place <= 100 for place in places)


def test_a_far_training_set_is_named_and_not_drawn() -> None:
    bar = make_bar(make_verdict(contrast(-1, 1), 0.5, versus_mean=0.0, training_mean=500.0))
    assert bar is not None
    assert bar.training is None
    assert "+500" in bar.training_label


def test_the_zone_agrees_with_the_drawn_places() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        verdict = make_verdict(make_contrast(rng, rng.normal(0, 6), 2), 4.0)
        bar = make_bar(verdict)
        assert bar is not None
        assert bar.zone is not None
        low, high = bar.whisker.low, bar.whisker.high
        side = "some higher" if low > bar.zero else "some lower" if high < bar.zero else "open"
        drawn = "higher" if low > bar.zone[1] else "lower" if high < bar.zone[0] else side
        drawn = "no change" if low >= bar.zone[0] and high <= bar.zone[1] else drawn
        assert drawn == zone_of(verdict)


@pytest.mark.parametrize("changes", [
    {"finding": "higher"}, {"finding": "no change"}, {"verdict": "contradicted"}, {"verdict": "open"},
    {"finding": "open", "verdict": "open"}, {"finding": "some lower", "verdict": "leaning"},
])  # fmt: skip
def test_disagreement_is_refused(changes: dict[str, str]) -> None:
    agreed = make_verdict(contrast(-10, -5), 2.0, "lower")
    make_bar(agreed)
    with pytest.raises(LabError, match="interval"):
        make_bar(replace(agreed, **changes))


def test_a_required_control_may_hold_a_verdict_back_and_another_may_not() -> None:
    held = make_verdict(contrast(-10, -5), 2.0, finding="no rise", verdict="open")
    make_bar(replace(held, controls=(control("placebo", None, "not_run"),)))
    with pytest.raises(LabError):
        make_bar(replace(held, controls=(control("placebo", None, "not_run", required=False),)))


def test_no_interval_no_bar() -> None:
    assert make_bar(make_verdict(None, None)) is None


def test_a_bar_without_a_margin() -> None:
    bar = make_bar(make_verdict(contrast(1, 2), None, verdict="not_measurable"))
    assert bar is not None
    assert bar.zone is None


def test_controls_are_drawn_on_the_same_axis() -> None:
    verdict = article_verdicts(np.random.default_rng(0))[0]
    bar = make_bar(verdict)
    assert bar is not None
    placebo, shown = verdict.controls[0].contrast, bar.controls[0].whisker
    assert placebo is not None
    assert shown is not None
    # both intervals through the same straight line
    slope = (bar.whisker.high - bar.whisker.low) / (verdict.contrast.high - verdict.contrast.low)
    assert shown.low - bar.whisker.low == pytest.approx(slope * (placebo.low - verdict.contrast.low))


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 1e-4), (-37, 4), (-3e5, 9e5), (-0.11, 0.93)])
def test_ticks_are_few_and_hold_zero(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert 0 in ticks
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert all(re.fullmatch(r"[125]0*|0", f"{abs(b - a) * 1e6:.0f}") for a, b in pairwise(ticks))

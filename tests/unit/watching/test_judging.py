"""What is said of an epoch and when to stop, on scores written by hand: each seed has its own level, which pairing takes away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from loralab.checking.scores import Scores
from loralab.watching.judging import Epoch, line_of, signed, stop_of

LEVELS = np.array([-0.2, -0.1, 0.0, 0.0, 0.05, 0.05, 0.1, 0.1])  # of eight seeds, of mean 0
#: what is left of a difference after pairing, of mean 0
LEFT = 0.02 * np.array([1, -1, 1, -1, 1, -1, 1, -1])


def epoch(n: int, effect: float, damage: float, copies: float | None = None, *, n_seeds: int = 8, dataset: bool = True) -> Epoch:
    sign = 1 if n % 2 else -1
    way = (effect + LEVELS + sign * LEFT)[:n_seeds]
    harm = (damage + LEVELS / 4 + sign * LEFT / 4)[:n_seeds]
    shares = None if copies is None else np.full(n_seeds, copies)
    return Epoch(f"epoch {n}", Scores(way if dataset else None, None, way, harm, shares))


def training(*points: Sequence[float]) -> list[Epoch]:
    return [epoch(n, *point) for n, point in enumerate(points, start=1)]


def test_the_line_says_how_far_what_damage_and_who_was_as_good():
    epochs = training((0.3, 0.05, 0), (0.7, 0.1, 0), (0.71, 0.2, 0))
    assert line_of(epochs[0], []) == "epoch 1: 30 % of the way, damage 0.05, no copies"
    assert line_of(epochs[1], epochs[:1]) == "epoch 2: 70 % of the way, damage 0.10, no copies; 40 points more than epoch 1"
    assert line_of(epochs[2], epochs[:2]) == "epoch 3: 71 % of the way, damage 0.20, no copies; epoch 2 was as good with less damage"


def test_no_effect_is_said_and_is_no_yardstick():
    idle, learned = epoch(1, 0.0, 0.3), epoch(2, 0.5, 0.1)
    assert line_of(idle, []) == "epoch 1: no effect can be seen yet (0 %), damage 0.30"
    assert line_of(learned, [idle]) == "epoch 2: 50 % of the way, damage 0.10"


def test_less_than_before_and_no_difference_are_told_apart():
    high, low = epoch(1, 0.8, 0.1), epoch(2, 0.5, 0.1)
    assert line_of(low, [high]).endswith("; 30 points less than epoch 1")
    level = epoch(3, 0.8, 0.1)
    assert line_of(level, [high]).endswith("no clear difference from epoch 1")


def test_copies_and_a_training_without_its_set():
    assert line_of(epoch(1, 0.9, 0.2, 0.25), []) == "epoch 1: 90 % of the way, damage 0.20, 25 % copies"
    assert line_of(epoch(1, 0.9, 0.2, dataset=False), []) == "epoch 1: 90 % changed, damage 0.20"


def test_stop_when_damage_grows_and_the_effect_does_not():
    going = training((0.3, 0.05), (0.5, 0.1), (0.7, 0.12))
    assert stop_of(going) == ""
    assert stop_of([*going, epoch(4, 0.71, 0.2)]) == ""  # one epoch is too few
    stop = stop_of([*going, epoch(4, 0.71, 0.2), epoch(5, 0.7, 0.3)])
    assert stop.startswith("Stop here: epoch 3 is as good as anything after it (0 points since, ")
    assert stop.endswith("while damage rose from 0.12 to 0.30. Keep epoch 3.")


def test_stop_when_copies_grow_or_the_effect_falls():
    copying = training((0.7, 0.1, 0.0), (0.7, 0.1, 0.2), (0.7, 0.1, 0.4))
    assert "copies rose from 0 % to 40 %" in stop_of(copying)
    falling = training((0.8, 0.1), (0.6, 0.1), (0.5, 0.1))
    assert "the effect fell to 50 %" in stop_of(falling)


def test_a_level_training_that_harms_nothing_goes_on_for_longer():
    level = training(*[(0.7, 0.1)] * 6)
    assert stop_of(level[:4]) == ""
    assert "over 4 epochs" in stop_of(level[:5])


def test_growth_is_never_stopped_and_too_few_seeds_never_say_stop():
    assert stop_of(training(*((0.1 * n, 0.1 * n) for n in range(1, 9)))) == ""
    few = [epoch(n, 0.7, 0.1 * n, n_seeds=2) for n in range(1, 6)]
    assert stop_of(few) == ""
    assert stop_of([]) == ""


def test_nothing_learned_is_no_reason_to_stop():
    assert stop_of(training((0.0, 0.1), (0.0, 0.3), (0.0, 0.5), (0.0, 0.7), (0.0, 0.9))) == ""


@pytest.mark.parametrize(("share", "text"), [(0.0, "0"), (-0.001, "0"), (0.12, "+12"), (-0.12, "−12")])
def test_signs(share: float, text: str):
    assert signed(share) == text

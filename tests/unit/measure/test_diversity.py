"""Diversity: how far the pictures of one run lie apart."""

from __future__ import annotations

import numpy as np
import pytest

from loralab.measure import cards, make_cards, measure_images
from loralab.measure.runs import make_runs
from loralab.measure.truth import lab_of
from loralab.spec.models import COLOURS


def plain(*names: str) -> np.ndarray:
    return np.stack([np.full((64, 64, 3), COLOURS[name], dtype=np.uint8) for name in names])


def values(images: np.ndarray) -> list[float | None]:
    return [reading.value for reading in measure_images(images, ["diversity"], together=True)["diversity"]]


def test_one_picture_again_and_again_is_no_diversity():
    assert values(plain("red", "red", "red")) == [0, 0, 0]


def test_plain_pictures_lie_as_far_apart_as_their_colours():
    """Red among two blues: the full distance from both; a blue: half of it, as the other blue is itself."""
    apart = float(np.linalg.norm(lab_of("red") - lab_of("blue")))
    assert values(plain("red", "blue", "blue")) == pytest.approx([apart, apart / 2, apart / 2])


def test_the_mean_over_a_run_is_the_mean_over_its_pairs():
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    pairs = [values(images[[i, j]])[0] for i in range(5) for j in range(i)]
    assert np.mean([value for value in values(images) if value is not None]) == pytest.approx(np.mean([p for p in pairs if p is not None]))


def test_a_picture_alone_has_none():
    for together, images in ((True, plain("red")), (False, plain("red", "blue"))):
        reading = measure_images(images, ["diversity"], together=together)["diversity"][0]
        assert reading.value is None
        assert "no other picture" in reading.reason


def test_a_run_that_collapses_is_seen_on_the_card(monkeypatch: pytest.MonkeyPatch):
    """A round trip that gives one picture for all reads 0 everywhere, and its card says that nothing is carried."""
    monkeypatch.setattr(cards, "make_specimens", lambda size_px, _: list(make_runs(size_px)))
    card = make_cards(lambda images: np.repeat(images[:1], len(images), axis=0), 64, ["diversity"])["diversity"]
    assert not card.carried
    assert card.bias < -5

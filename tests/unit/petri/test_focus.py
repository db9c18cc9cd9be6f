"""The instrument of sharp, blurry and depth of field: known truths, a wrong twin, its shipped cards, its fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from loralab.measure import measure_images
from loralab.measure.companions import petri_companion
from loralab.measure.focus_specimens import focus_nuisances, focus_truth
from loralab.petri import petri_folder
from loralab.petri.draw import make_picture
from loralab.petri.encoder import encoder_folder, load_encoder
from loralab.petri.focus import FOCUS, FocusWeights, load_focus, read_focus, save_focus
from loralab.petri.sprites import load_sprites

N = 15


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Pictures that no fit saw, and the number of what each is."""
    sprites = load_sprites(encoder_folder() / "sprites.npz")
    drawn = [make_picture(focus_truth(focus, 100 + number)[0], sprites) for focus in FOCUS for number in range(N)]
    return np.stack(drawn), np.repeat(np.arange(len(FOCUS)), N)


def test_it_tells_the_three_apart(pictures):
    images, truth = pictures
    shares = read_focus(load_encoder(), images)
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert (shares.argmax(axis=1) == truth).mean() >= 0.8
    for index in range(len(FOCUS)):
        assert shares[truth == index, index].mean() - shares[truth != index, index].mean() > 0.5


def test_a_twin_with_swapped_answers_is_caught(pictures):
    images, truth = pictures
    right = load_focus()
    twin = FocusWeights(right.mean, right.deviation, right.axes[:, [1, 0, 2]], right.offsets[[1, 0, 2]])
    shares = read_focus(load_encoder(), images, twin)
    assert (shares.argmax(axis=1) == truth).mean() < 0.6


def test_a_study_reads_it_as_a_concept(pictures):
    images, _ = pictures
    for index, name in enumerate(FOCUS):
        concept = petri_companion().concept(name)
        read = [reading.value for reading in measure_images(images[::5], ["concept"], concept=concept)["concept"]]
        assert read == pytest.approx(read_focus(load_encoder(), images[::5])[:, index], abs=1e-6)
        share = pickle.loads(pickle.dumps(concept.share))  # it is sent to the processes that measure
        assert share(images[0]) == pytest.approx(read[0], abs=1e-9)


def test_the_cards_that_ship_carry_all_three():
    told = json.loads((petri_folder().parent / "cards.json").read_text(encoding="utf-8"))
    assert told["encoder_sha256"] == petri_companion().sha256
    for name in FOCUS:
        card = told["cards"][f"concept[{name}]"]
        assert card["carried"]
        assert card["sensitivity"] >= 0.6
        assert set(card["moved_by"]) == {"hue", "background", "shown"}


def test_what_should_not_move_it_is_varied():
    found = focus_nuisances("blurry", 64, lambda truth, size_px: np.zeros((size_px, size_px, 3), np.uint8))
    levels = {factor: {specimen.factors[factor] for specimen in found} for factor in ("hue", "background", "shown")}
    assert {factor: len(values) >= 2 for factor, values in levels.items()} == dict.fromkeys(levels, True)
    assert all(specimen.truth == {"concept": 1.0} for specimen in found)


def test_weights_come_back_as_they_were_written(tmp_path: Path):
    weights = load_focus()
    save_focus(weights, tmp_path)
    again = load_focus(tmp_path)
    assert all(np.array_equal(getattr(weights, name), getattr(again, name)) for name in vars(weights))

"""Where the subject lies, whether it is symmetric, and what of the base's composition was kept: answers derived by hand."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from loralab.data import make_examples
from loralab.measure import make_cards, measure_images
from loralab.measure import table as table_module
from loralab.measure.arrangements import make_arrangements
from loralab.measure.picture import lengths, sum_of_three
from loralab.measure.table import TABLE
from loralab.spec.models import ShapesData


def drawn(**given: object) -> np.ndarray:
    return make_examples(ShapesData.model_validate({"generate": "shapes", "fill": "red", **given}), 64)[0].image


def value(name: str, image: np.ndarray, base: np.ndarray | None = None) -> float:
    reading = measure_images(image[None], [name], base_images=None if base is None else base[None])[name][0]
    assert reading.value is not None, reading.reason
    return reading.value


def right_angled() -> np.ndarray:
    canvas = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(canvas).polygon([(10, 10), (10, 54), (54, 54)], fill="blue")
    return np.asarray(canvas)


def test_a_subject_in_the_middle_is_not_off_it_and_a_moved_one_by_as_much_as_it_was_moved():
    assert value("off_centre", drawn(shapes=["square"], size=0.5)) < 0.01
    assert value("off_centre", drawn(shapes=["square"], size=0.5, position=(0.6, 0.5))) == pytest.approx(0.1, abs=0.01)
    # 3, 4, 5: .06 across and .08 down
    assert value("off_centre", drawn(shapes=["circle"], size=0.5, position=(0.44, 0.58))) == pytest.approx(0.1, abs=0.01)


def test_a_right_angled_triangle_overlaps_half_with_its_mirror_image():
    """With legs of 1, its centre is 1/3 from the upright leg; a row at depth t is [0, t], mirrored [2/3 - t, 2/3].

    They share 2t - 2/3 between depths 1/3 and 2/3, and 2/3 below: 1/9 + 2/9 = 1/3 in all; either covers 2 * 1/2 - 1/3 = 2/3.
    """
    assert value("symmetry", right_angled()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("shape", ["circle", "square", "triangle", "heart"])
def test_drawn_shapes_are_symmetric_wherever_they_lie(shape: str):
    assert value("symmetry", drawn(shapes=[shape], size=0.5, position=(0.43, 0.5))) > 0.93


def test_what_was_kept_of_a_moved_square():
    """Sides of .9 * .5 = .45, moved by .1: (.45 - .1) / (.45 + .1) = .636."""
    here, there = drawn(shapes=["square"], size=0.5), drawn(shapes=["square"], size=0.5, position=(0.6, 0.5))
    assert value("composition_kept", here, here) == 1
    assert value("composition_kept", here, there) == pytest.approx(0.636, abs=0.03)
    assert value("composition_kept", here, there) == value("composition_kept", there, here)
    assert value("composition_kept", here, drawn(shapes=["square"], size=0.5, fill="green")) == 1


def test_without_a_subject_nothing_can_have_been_kept():
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    found = measure_images(white, ["composition_kept", "symmetry", "off_centre"], base_images=drawn(shapes=["circle"])[None])
    assert {reading[0].status for reading in found.values()} == {"not_measurable"}


@pytest.mark.parametrize("name", ["off_centre", "symmetry", "composition_kept"])
def test_cards_on_arrangements_are_close_to_the_truth_and_a_transposed_twin_is_not(name: str, monkeypatch: pytest.MonkeyPatch):
    """On its side a leaning triangle is another figure; only the distance from the middle stays what it was."""
    specimens = list(make_arrangements(64))
    monkeypatch.setattr("loralab.measure.cards.make_specimens", lambda *_: specimens)
    card = make_cards(lambda images: images, 64, [name])[name]
    assert card.carried, card.note
    assert card.error < 0.03
    assert abs(card.bias) < 0.03
    honest = TABLE[name]
    measure = lambda picture, context: honest.measure(type(picture)(picture.lab.transpose(1, 0, 2)), context)  # noqa: E731
    monkeypatch.setattr(table_module, "ROWS", {**table_module.ROWS, name: replace(honest, measure=measure)})
    wrong = make_cards(lambda images: images, 64, [name])[name]
    assert (wrong.error < 0.03) is (name == "off_centre")


def test_the_sum_of_three_is_numpys_to_the_last_bit():
    vectors = np.random.default_rng(1).normal(size=(64, 64, 3)) * 50
    assert np.array_equal(sum_of_three(vectors), vectors.sum(axis=-1))
    assert np.array_equal(lengths(vectors), np.linalg.norm(vectors, axis=-1))

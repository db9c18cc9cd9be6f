"""Names that take a word, and instruments of one's own: found for a block, told apart by their text, gone after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loralab.errors import LabError
from loralab.measure import TABLE, make_cards, measure_images, with_instruments
from loralab.measure.colour import hue_row
from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, measured
from loralab.measure.specimen import filled
from loralab.spec.models import COLOURS
from loralab.study.measures import card_name, measure_problem, plain_measure

WHITE = COLOURS["white"]


def measure_warmth(picture: Picture, _: Context) -> Reading:
    return measured(float(picture.lab[..., 2].mean()))


def measure_coolness(picture: Picture, _: Context) -> Reading:
    return measured(-float(picture.lab[..., 2].mean()))


WARMTH = Instrument("warmth", "b*", -100, 100, "continuous", "how yellow the picture is", 0, measure_warmth)


def reading(name: str, image: np.ndarray) -> float | None:
    return measure_images(image[None], [name])[name][0].value


@pytest.mark.parametrize(
    ("name", "fill", "value"),
    [
        ("hue[magenta]", "magenta", 1.0), ("hue[magenta]", "pink", 1.0), ("hue[magenta]", "purple", 0.0), ("hue[#e11eaa]", "magenta", 1.0),
        ("hue[brown]", "orange", 1.0), ("hue[cyan]", "cyan", 1.0), ("hue[cyan]", "grey", 0.0), ("hue[blue]", "purple", 0.0),
        ("colour[magenta]", "magenta", 1.0), ("colour[magenta]", "pink", 0.0), ("colour[grey]", "grey", 1.0),
        ("colour[brown]", "orange", 0.0),
        ("colour[black]", "black", 1.0), ("colour[#828282]", "grey", 0.0),
    ],
)  # fmt: skip
def test_hues_and_colours_of_filled_shapes(name: str, fill: str, value: float):
    found = reading(name, filled(64, "square", COLOURS[fill], WHITE, 0.7))
    assert found == pytest.approx(value, abs=0.06)


def test_a_hue_that_has_an_instrument_of_its_own_reads_as_that():
    for name in ("red", "green", "blue"):
        for fill, rgb in COLOURS.items():
            if fill != "purple":  # to hue_blue, purple is another hue's own
                image = filled(64, "circle", rgb, WHITE, 0.7)
                assert reading(f"hue[{name}]", image) == pytest.approx(reading(f"hue_{name}", image), abs=0.06)


def test_shapes_of_every_name():
    for drawn in ("hexagon", "star", "circle"):
        image = filled(64, drawn, COLOURS["red"], WHITE, 0.75)
        assert [reading(f"shape[{asked}]", image) for asked in ("hexagon", "star", "circle")] == [
            float(asked == drawn) for asked in ("hexagon", "star", "circle")
        ]


def test_words_that_are_none_are_named_with_those_that_are():
    for name, words in (("hue[grey]", "colour[grey]"), ("hue", "hue[COLOUR]"), ("shape[blob]", "hexagon"), ("colour[#12]", "#rrggbb")):
        problem = measure_problem(name, "petri")
        assert problem is not None
        assert words in str(problem)
    assert measure_problem("hue[magenta]", "petri") is None
    assert (plain_measure("hue[magenta]"), card_name("hue[magenta]")) == ("hue[magenta]", "hue[magenta]")
    assert plain_measure("copy_distance[mine]") == "copy_distance"


def test_an_instrument_of_ones_own_is_there_for_the_block():
    image = filled(64, "square", COLOURS["yellow"], WHITE, 0.9)
    with with_instruments(WARMTH):
        assert list(TABLE)[-1] == "warmth"
        assert reading("warmth", image) > 20
        assert measure_problem("warmth", "petri") is None
        first = TABLE["warmth"].told_apart
    assert "warmth" not in TABLE
    with pytest.raises(LabError, match="unknown instrument 'warmth'"):
        reading("warmth", image)
    with with_instruments(replace(WARMTH, measure=measure_coolness)):
        assert TABLE["warmth"].told_apart != first  # its readings in the store are others


def test_names_that_are_taken_or_cannot_be_written_are_refused():
    for name in ("chroma", "hue", "War mth", "warmth[x]"):
        with (
            pytest.raises(LabError, match=r"already an instrument called|cannot be the name"),
            with_instruments(replace(WARMTH, name=name)),
        ):
            pass
    lost = eval("lambda picture, context: None")  # text that nobody can read again
    with pytest.raises(LabError, match="origin="), with_instruments(replace(WARMTH, measure=lost)):
        pass


def test_an_own_instrument_without_pictures_of_known_truth_says_that_nobody_tried_it():
    with with_instruments(WARMTH):
        card = make_cards(lambda images: images, 64, ["warmth"])["warmth"]
    assert (card.n_images, card.carried) == (0, True)
    assert "not calibrated" in card.note


def test_pictures_of_known_truth_must_carry_it():
    row = hue_row("magenta")
    assert row is not None
    own = replace(row, name="magenta_share", origin="1")
    with with_instruments(own), pytest.raises(LabError, match="without its truth"):
        make_cards(lambda images: images, 64, ["magenta_share"])

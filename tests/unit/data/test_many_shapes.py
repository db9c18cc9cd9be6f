"""Sets of many shapes: exact numbers and balances, what is drawn from the seed, blurred shares, and a shape that has a left and a right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loralab.data import make_examples
from loralab.errors import LabError
from loralab.generators.many_shapes import ManyShapesData, counts_of, many_factors
from loralab.generators.shapes import SHAPES, Shape, make_mask
from loralab.spec import load_study, slice_of


def spec(**given: Any) -> ManyShapesData:
    return ManyShapesData.model_validate({"generate": "many-shapes", "shapes": "circle", **given})


def numbers(name: str, **given: Any) -> Counter[Any]:
    return Counter(factors[name] for factors in many_factors(spec(**given)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"shapes": {"circle": 9, "square": 1}}, {"circle": 9, "square": 1}),
        ({"shapes": {"circle": 5, "square": 5}}, {"circle": 5, "square": 5}),
        ({"shapes": {"circle": 9, "square": 1}, "count": 100}, {"circle": 90, "square": 10}),
        ({"shapes": ["circle", "square", "star"], "count": 27}, {"circle": 9, "square": 9, "star": 9}),
        ({"shapes": ["circle", "square"], "count": 27}, {"circle": 14, "square": 13}), ({"shapes": "star", "count": 3}, {"star": 3}),
        ({"shapes": ["circle", "star"]}, {"circle": 1, "star": 1}), ({"shapes": {"circle": 9, "square": 1}, "count": 3}, {"circle": 3}),
    ],
)  # fmt: skip
def test_the_balance_is_exact(given, expected):
    assert numbers("shape", **given) == expected


def test_colours_have_their_own_balance():
    assert numbers("fill", count=10, fill={"red": 9, "blue": 1}, shapes=["circle", "square"]) == {"red": 9, "blue": 1}
    assert numbers("background", count=10, background=["white", "yellow"]) == {"white": 5, "yellow": 5}


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(SHAPES), st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_parts_are_rounded_by_less_than_one(parts, n):
    counts = counts_of(parts, n)
    assert sum(counts.values()) == n
    assert all(abs(counts[word] - n * part / sum(parts.values())) < 1 for word, part in parts.items())


def test_the_seed_draws_the_rest_and_the_order_of_a_mapping_nothing():
    given = {"shapes": {"circle": 4, "square": 4}, "size": [0.2, 0.8], "position": "anywhere", "fill": ["red", "blue"]}
    first = many_factors(spec(**given))
    assert many_factors(spec(**given)) == first
    assert many_factors(spec(**given, seed=1)) != first
    turned = spec(**(given | {"shapes": {"square": 4, "circle": 4}}))
    assert many_factors(turned) == first
    assert slice_of(turned) == slice_of(spec(**given))


def test_sizes_and_places_are_drawn_inside_the_picture_and_stay_in_longer_sets():
    given = {"size": [0.2, 0.8], "position": "anywhere"}
    few, many = (many_factors(spec(**given, count=n)) for n in (9, 100))
    assert [(each["size"], each["x"], each["y"]) for each in few] == [(each["size"], each["x"], each["y"]) for each in many[:9]]
    sizes = np.array([each["size"] for each in many])
    assert 0.2 <= sizes.min() < 0.3 < 0.7 < sizes.max() <= 0.8
    for axis in ("x", "y"):
        centres = np.array([each[axis] for each in many])
        assert (centres - sizes / 2 >= -1e-4).all()
        assert (centres + sizes / 2 <= 1 + 1e-4).all()
        assert np.ptp(centres) > 0.5
    assert {(each["x"], each["y"]) for each in many_factors(spec(count=5))} == {(0.5, 0.5)}
    assert {(each["x"], each["y"]) for each in many_factors(spec(count=5, size=0.5, position=[0.25, 0.75]))} == {(0.25, 0.75)}


@pytest.mark.parametrize(("given", "blurred"), [({"blur": 3}, 10), ({"blur": 3, "blurred": 0}, 0), ({"blur": 3, "blurred": 1}, 1), ({}, 0)])
def test_as_many_pictures_are_blurred_as_are_wanted(given, blurred):
    data = spec(count=10, **given)
    assert sum(factors["blur"] > 0 for factors in many_factors(data)) == blurred
    steep = [int(np.abs(np.diff(example.image[32].astype(int), axis=0)).max()) for example in make_examples(data, 64)]
    assert sum(step < 40 for step in steep) == blurred  # from grey to white: 127 in one pixel where nothing is blurred


def test_a_flag_is_another_in_a_mirror():
    """The nine that petri knows have an axis upright; the flag has its pole at the left and its pennant to the right."""
    assert "flag" not in SHAPES
    overlaps = {}
    for shape in (*SHAPES, "flag"):
        mask = make_mask(shape, (0.5, 0.5), 0.7, 256)
        overlaps[shape] = (mask & mask[:, ::-1]).sum() / (mask | mask[:, ::-1]).sum()
    assert overlaps.pop("flag") < 0.6
    assert min(overlaps.values()) > 0.95
    flag = make_mask("flag", (0.5, 0.5), 0.7, 256)
    assert flag[:, :96].any(axis=1).sum() > 2 * flag[:, 160:].any(axis=1).sum(), "the pole is high, the tip is not"
    assert set(Shape.__args__) == {*SHAPES, "flag"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"count": 3, "blurred": 4, "blur": 1}, "4 of 3 images cannot be blurred"), ({"blurred": 1}, "`blurred` needs a `blur`"),
        ({"size": [0.8, 0.2]}, "smallest, largest"), ({"shapes": []}, "at least one shape"),
        ({"shapes": {"circle": 0}}, "greater than or equal"),
        ({"position": [5, 5]}, "less than or equal to 1"), ({"position": [-0.1, 0.5]}, "greater than or equal to 0"),
        ({"position": [0.5, 0.7]}, "a shape of size 0.7 at [0.5, 0.7] leaves the picture; expected places from 0.35 to 0.65"),
        ({"position": [0.5, 0.3], "size": [0.2, 0.8]}, "a shape of size 0.8 at [0.5, 0.3] leaves the picture"),
        ({"shapes": {"circle": 1000, "square": 1000}}, "2,000 images; expected at most 1,000"),
        ({"count": 0}, "greater than or equal"), ({"shapes": {"blob": 2}}, "'circle'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(given, told):
    with pytest.raises(ValidationError) as caught:
        spec(**given)
    assert told in str(caught.value)


def test_a_study_says_it_in_a_few_plain_words_and_mistakes_have_their_line(tmp_path: Path):
    text = """\
study: many
data:
  unequal: {generate: many-shapes, shapes: {circle: 9, square: 1}, size: [0.3, 0.7], position: anywhere, blur: 3, blurred: 1}
arms:
  nine: {data: unequal, captions: "zok, {shape}"}
experiments:
  e: {question: q, claims: [{say: s, measure: chroma, cell: nine @ "zok", expect: higher, margin_absolute: 5}]}
"""
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    data = load_study(tmp_path / "s.yaml").spec.data["unequal"]
    assert isinstance(data, ManyShapesData)
    assert data.n_images == 10
    (tmp_path / "s.yaml").write_text(text.replace("square: 1", "squire: 1"), encoding="utf-8")
    with pytest.raises(LabError) as caught:
        load_study(tmp_path / "s.yaml")
    assert "s.yaml, line 3: data unequal" in str(caught.value)
    assert "square" in str(caught.value)

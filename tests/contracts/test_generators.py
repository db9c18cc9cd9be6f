"""What every row of the table of generators keeps: a checked model, truth that the pixels show, captions; a twin that lies is caught."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from loralab.data import caption_for, make_examples
from loralab.generators import TABLE, Example, Generated, generator_of
from loralab.generators.colours import COLOURS
from loralab.generators.grids import line_starts
from loralab.generators.shapes import make_mask
from loralab.spec import StudySpec
from loralab.spec.data_kinds import KINDS
from loralab.study.triggers import captions_of

PX = 96


def sample(name: str) -> Generated:
    return TABLE[name].model.model_validate(dict(TABLE[name].sample))


# --- the truth of each generator: a picture's factors against its pixels ------------------------------------------------


def near(pixels: np.ndarray, colour: str) -> np.ndarray:
    return np.abs(pixels.astype(int) - COLOURS[colour]).max(axis=-1) < 40


def shape_is_true(example: Example) -> bool:
    """The fill lies where the shape is, the background where it is not; pixels at the edge are a mix of both."""
    factors = example.factors
    inside = np.asarray(
        Image.fromarray(make_mask(str(factors["shape"]), (float(factors["x"]), float(factors["y"])), float(factors["size"]), PX * 8))
        .convert("L")
        .resize((PX, PX), Image.Resampling.BOX)
    )
    filled, empty = near(example.image, str(factors["fill"])), near(example.image, str(factors["background"]))
    return bool(filled[inside == 255].all() and empty[inside == 0].all())


def grid_is_true(example: Example) -> bool:
    """The line's colour stands at each line's middle, and there are no other lines."""
    factors, width = example.factors, 2 / 64 * PX
    for axis, n in ((0, int(factors["columns"])), (1, int(factors["rows"]))):
        dark = near(example.image, str(factors["line"])).all(axis=axis)
        n_lines = int(dark[0]) + int((np.diff(dark.astype(int)) == 1).sum())
        if n_lines != n + 1 or not dark[[int(start + width / 2) for start in line_starts(n, PX, width)]].all():
            return False
    return True


#: every generator needs one: does the picture show what its factors say?
TRUTH: Mapping[str, Callable[[Example], bool]] = {"shapes": shape_is_true, "many-shapes": shape_is_true, "grids": grid_is_true}


def test_every_generator_has_its_truth():
    assert set(TRUTH) == set(TABLE), "add a check of a picture against its factors to TRUTH"


@pytest.mark.parametrize("name", TABLE)
def test_what_the_factors_say_is_what_the_pixels_show(name: str):
    assert all(TRUTH[name](example) for example in make_examples(sample(name), PX))


@pytest.mark.parametrize("name", TABLE)
def test_a_twin_that_says_another_pictures_factors_is_caught(name: str):
    """Sabotage: the pictures of a sample differ, so each is a lie under the factors of the next."""
    examples = make_examples(sample(name), PX)
    for example, other in zip(examples, [*examples[1:], examples[0]], strict=True):
        assert not TRUTH[name](Example(example.image, example.caption, other.factors, example.source))


@pytest.mark.parametrize("name", [name for name, generator in TABLE.items() if generator.mask is not None])
def test_a_mask_covers_what_the_background_does_not(name: str):
    spec = sample(name)
    make = TABLE[name].mask
    assert make is not None
    for example in make_examples(spec, PX):
        mask = make(spec, dict(example.factors), PX)
        assert (mask.shape, mask.dtype) == ((PX, PX), np.uint8)
        ground = near(example.image, str(example.factors["background"]))
        assert not ground[mask > 200].any()
        assert ground[mask == 0].all()
        assert 0.02 < (mask > 200).mean() < 0.9


# --- what holds for all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_the_model_is_the_studys_and_explains_itself(name: str):
    model = TABLE[name].model
    assert get_args(model.model_fields["generate"].annotation) == (name,)
    assert KINDS[name] is model
    assert model.__doc__
    assert all(field.description for key, field in model.model_fields.items() if key != "generate")
    with pytest.raises(ValidationError, match="unknown"):
        model.model_validate({**TABLE[name].sample, "unknown": 1})


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("size_px", [32, 64, 256])
def test_pictures_have_the_size_asked_for_and_are_the_same_again(name: str, size_px: int):
    spec = sample(name)
    examples, again = make_examples(spec, size_px), make_examples(spec, size_px)
    assert len(examples) >= 2
    assert len({example.image.tobytes() for example in examples}) == len(examples)
    for example, other in zip(examples, again, strict=True):
        assert (example.image.shape, example.image.dtype) == ((size_px, size_px, 3), np.uint8)
        assert example.image.tobytes() == other.image.tobytes()


@pytest.mark.parametrize("name", TABLE)
def test_a_larger_picture_shows_the_same(name: str):
    for small, large in zip(make_examples(sample(name), 64), make_examples(sample(name), 256), strict=True):
        shrunk = np.asarray(Image.fromarray(large.image).resize((64, 64), Image.Resampling.BOX)).astype(int)
        assert np.abs(shrunk - small.image.astype(int)).mean() < 3


@pytest.mark.parametrize("name", TABLE)
def test_factors_are_known_without_drawing_and_fill_captions(name: str):
    spec = sample(name)
    generator = generator_of(spec)
    for factors, example in zip(generator.factors(spec), make_examples(spec, 64), strict=True):
        assert factors == example.factors
        assert example.caption == caption_for(generator.caption, example)
        assert "{" not in example.caption


@pytest.mark.parametrize("name", TABLE)
def test_a_study_reads_it_and_the_plan_knows_its_captions(name: str):
    """The whole way from the study file: no part of the lab but the table knows a generator's name."""
    claim = {"say": "x", "measure": "chroma", "cell": 'mine @ "zok"', "expect": "higher", "margin_absolute": 5}
    read = StudySpec.model_validate({
        "study": "s", "data": {"it": dict(TABLE[name].sample)}, "arms": {"mine": {"data": "it", "captions": "zok, " + TABLE[name].caption}},
        "experiments": {"e": {"question": "?", "claims": [claim]}},
    })  # fmt: skip
    assert type(read.data["it"]) is TABLE[name].model
    expected = [f"zok, {example.caption}" for example in make_examples(sample(name), 64)]
    assert captions_of(read, read.arms["mine"]) == expected
    assert captions_of(read, read.arms["mine"].model_copy(update={"captions": None})) == [text.removeprefix("zok, ") for text in expected]

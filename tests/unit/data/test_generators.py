"""Generated pictures: what the factors say is what the pixels show."""

import math

import numpy as np
import pytest

from loralab.data import caption_for, make_examples, read_folder, write_kohya_folder
from loralab.errors import LabError
from loralab.spec.models import COLOURS, SHAPES, GridsData, ShapesData


def shapes(size_px: int = 64, **given: object):
    return make_examples(ShapesData.model_validate({"generate": "shapes", **given}), size_px)


@pytest.mark.parametrize("size_px", [32, 64, 512])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ring"])
def test_centre_is_the_fill_and_corner_the_background(shape: str, size_px: int):
    example = shapes(size_px, shapes=[shape], fill="red", background="yellow")[0]
    assert example.image.shape == (size_px, size_px, 3)
    assert example.image.dtype == np.uint8
    assert tuple(example.image[size_px // 2, size_px // 2]) == COLOURS["red"]
    assert tuple(example.image[0, 0]) == COLOURS["yellow"]
    assert example.factors["shape"] == shape


def test_a_ring_has_a_hole():
    assert tuple(shapes(shapes=["ring"], fill="red", background="white")[0].image[32, 32]) == COLOURS["white"]


def test_a_circle_has_the_area_of_a_circle():
    """Size .7 of 64 px is a radius of 22.4 px: area pi * 22.4^2 = 1576 px; black on white makes coverage the inverse of brightness."""
    image = shapes(shapes=["circle"], fill="black", background="white", size=0.7)[0].image.astype(float)
    covered = ((255 - image[..., 0]) / (255 - COLOURS["black"][0])).sum()
    assert covered == pytest.approx(math.pi * 22.4**2, rel=0.01)


def test_the_outline_has_the_width_that_was_asked_for():
    row = shapes(shapes=["square"], fill="white", outline="black", outline_px=4, size=0.8)[0].image[32, :, 0]
    assert 3.5 <= (row < 128).sum() / 2 <= 4.5


def test_fills_are_zipped_with_shapes():
    found = [(example.factors["shape"], example.factors["fill"]) for example in shapes(shapes=["circle", "square"], fill=["red", "green"])]
    assert found == [("circle", "red"), ("square", "green")]


def test_more_blur_is_less_gradient():
    strengths = [
        np.abs(np.diff(shapes(shapes=["square"], fill="black", blur=blur)[0].image.astype(float), axis=1)).max() for blur in (0, 1, 2, 4)
    ]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[-1] < strengths[0] / 3


@pytest.mark.parametrize(("columns", "rows"), [(2, 2), (3, 4), (6, 2)])
def test_grids_have_full_lines_at_equal_divisions_and_nowhere_else(columns: int, rows: int):
    spec = GridsData(generate="grids", sizes=(f"{columns}x{rows}",))
    image = make_examples(spec, 512)[0].image[..., 0]
    dark_columns = np.flatnonzero((image < 128).all(axis=0))
    assert len(np.split(dark_columns, np.flatnonzero(np.diff(dark_columns) > 1) + 1)) == columns + 1
    dark_rows = np.flatnonzero((image < 128).all(axis=1))
    assert len(np.split(dark_rows, np.flatnonzero(np.diff(dark_rows) > 1) + 1)) == rows + 1
    starts = [block[0] for block in np.split(dark_columns, np.flatnonzero(np.diff(dark_columns) > 1) + 1)]
    assert np.ptp(np.diff(starts)) <= 1


def test_captions_fill_placeholders_and_name_unknown_ones():
    example = shapes(shapes=["circle"], fill="red")[0]
    assert caption_for("{fill} monster", example) == "red monster"
    assert caption_for("{{literal}} {shape}", example) == "{literal} circle"
    with pytest.raises(LabError, match=r"uses \{mood\}") as caught:
        caption_for("{mood} monster", example)
    assert "{fill}" in str(caught.value)
    with pytest.raises(LabError, match="not well formed"):
        caption_for("{fill", example)


def test_a_kohya_folder_reads_back_as_it_was_written(tmp_path):
    examples = shapes(shapes=["circle", "square", "triangle"], fill=["red", "green", "blue"], outline="black")
    captions = ["red monster", "green monster", "blue, {braces}"]
    folder = write_kohya_folder(examples, captions, tmp_path, repeats=10, name="my/char")
    assert folder.name == "10_my-char"
    contents = read_folder(tmp_path, 64)
    assert [example.caption for example in contents.examples] == captions
    assert all(np.array_equal(one.image, other.image) for one, other in zip(contents.examples, examples, strict=True))
    assert {example.factors["repeats"] for example in contents.examples} == {10}
    again = write_kohya_folder(examples, captions, tmp_path / "again", repeats=10, name="my/char")
    assert all(file.read_bytes() == (again / file.name).read_bytes() for file in folder.iterdir())

"""What every instrument promises, run over every row of the table; and wrong twins that these checks must catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from loralab.data import make_examples
from loralab.errors import LabError
from loralab.measure import TABLE, make_cards, measure_images
from loralab.measure import table as table_module
from loralab.measure.reading import Reading
from loralab.spec.models import GridsData, ShapesData


def drawn(**given: object) -> np.ndarray:
    return make_examples(ShapesData.model_validate({"generate": "shapes", **given}), 64)[0].image


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Shapes, a grid, a blurred one, plain white, and noise: (8, 64, 64, 3)."""
    grid = make_examples(GridsData(generate="grids", sizes=("3x4",)), 64)[0].image
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return np.stack([
        drawn(shapes=["circle"], fill="grey"), drawn(shapes=["square"], fill="green", outline="black"),
        drawn(shapes=["triangle"], fill="blue", blur=3),
        drawn(shapes=["heart"], fill="red", background="yellow"), grid,
        np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8), noise,
    ])  # fmt: skip


def read(name: str, images: np.ndarray, base: np.ndarray | None = None) -> list[Reading]:
    base = np.full_like(images, 255) if base is None else base
    return measure_images(images, [name], base_images=base, training_images=images[:2])[name]


@pytest.mark.parametrize("name", TABLE)
def test_a_value_in_range_or_a_reason(name: str, pictures: np.ndarray):
    for reading in read(name, pictures):
        if reading.status == "measured":
            assert reading.value is not None
            assert np.isfinite(reading.value)
            assert TABLE[name].low - 1e-9 <= reading.value <= TABLE[name].high + 1e-9
        else:
            assert reading.value is None
            assert reading.reason


@pytest.mark.parametrize("name", TABLE)
def test_a_reading_does_not_depend_on_its_company(name: str, pictures: np.ndarray):
    together = read(name, pictures)
    backwards = measure_images(pictures[::-1].copy(), [name], base_images=np.full_like(pictures, 255), training_images=pictures[:2])[name][
        ::-1
    ]
    assert together == backwards


@pytest.mark.parametrize("name", TABLE)
def test_pictures_are_left_as_they_are(name: str, pictures: np.ndarray):
    before = pictures.copy()
    read(name, pictures)
    assert np.array_equal(before, pictures)


@pytest.mark.parametrize("name", TABLE)
def test_a_mirror_image_reads_the_same(name: str, pictures: np.ndarray):
    """Every instrument that ships is blind to left and right; half a pixel of resampling is allowed."""
    chosen = pictures[:5]
    mirrored = measure_images(
        chosen[:, :, ::-1].copy(), [name], base_images=np.full_like(chosen, 255), training_images=chosen[:2, :, ::-1].copy()
    )
    for one, other in zip(read(name, chosen), mirrored[name], strict=True):
        assert one.status == other.status
        if one.value is not None and other.value is not None:
            assert other.value == pytest.approx(one.value, abs=0.03 * (TABLE[name].high - TABLE[name].low))


@pytest.mark.parametrize("name", TABLE)
def test_what_it_needs_and_does_not_get_is_a_reason(name: str, pictures: np.ndarray):
    if TABLE[name].needs:
        assert all(reading.status == "not_measurable" for reading in measure_images(pictures, [name])[name])


def test_unknown_names_and_wrong_pictures_are_errors(pictures: np.ndarray):
    with pytest.raises(LabError, match="unknown instrument 'vibes'"):
        measure_images(pictures, ["vibes"])
    with pytest.raises(LabError, match="uint8"):
        measure_images(pictures.astype(np.float32), ["chroma"])


# --- sabotage: wrong twins of an instrument in each family, and the card that must notice them ----------------------------


def same(images: np.ndarray) -> np.ndarray:
    return images


def negated(reading: Reading) -> Reading:
    return reading if reading.value is None else replace(reading, value=-reading.value)


def shifted(reading: Reading) -> Reading:
    return reading if reading.value is None else replace(reading, value=reading.value + 1)


def inverted(reading: Reading) -> Reading:
    return reading if reading.value is None else replace(reading, value=1 - reading.value)


TWINS: list[tuple[str, Callable[[Reading], Reading]]] = [
    ("chroma", negated), ("background_from_white", negated), ("background_white", inverted), ("shape_circle", inverted),
    ("circle_excess", negated), ("outline_dark", inverted), ("edge_sigma", negated), ("grid_present", inverted), ("grid_rows", shifted),
    ("foreground_share", inverted), ("change", negated), ("copy_distance", negated), ("hue_red", inverted), ("local_contrast", negated),
]  # fmt: skip


@pytest.mark.parametrize(("name", "twist"), TWINS)
def test_the_card_notices_a_wrong_twin(name: str, twist: Callable[[Reading], Reading], monkeypatch: pytest.MonkeyPatch):
    honest = make_cards(same, 64, [name])[name]
    original = TABLE[name]
    twin = replace(original, measure=lambda picture, context: twist(original.measure(picture, context)))
    monkeypatch.setattr(table_module, "TABLE", {**TABLE, name: twin})
    wrong = make_cards(same, 64, [name])[name]
    assert honest.carried
    assert not wrong.carried or abs(wrong.bias) > abs(honest.bias) + 0.5


def test_rows_and_columns_are_not_swapped():
    image = make_examples(GridsData(generate="grids", sizes=("5x2",)), 64)[0].image[None]
    assert (read("grid_rows", image)[0].value, read("grid_columns", image)[0].value) == (2, 5)

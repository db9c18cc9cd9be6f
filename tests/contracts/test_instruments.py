"""What every instrument promises, run over every row of the table; and wrong twins that these checks must catch."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from loralab.data import make_examples
from loralab.errors import LabError
from loralab.measure import TABLE, Card, cards, make_cards, measure_images, truth
from loralab.measure import table as table_module
from loralab.measure.companions import petri_companion
from loralab.measure.picture import Context, Picture, make_pictures
from loralab.measure.reading import Instrument, Reading
from loralab.measure.table import TAKING
from loralab.spec.models import GridsData, ShapesData

#: every instrument that can be asked for: the table's rows, and of those that take a word a few words each
NAMES = [*TABLE, *(f"{taking.name}[{word}]" for taking in TAKING.values() for word in taking.examples)]


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
    return measure_images(images, [name], base_images=base, training_images=images[:2], together=True)[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_in_range_or_a_reason(name: str, pictures: np.ndarray):
    for reading in read(name, pictures):
        if reading.status == "measured":
            assert reading.value is not None
            assert np.isfinite(reading.value)
            assert TABLE[name].low - 1e-9 <= reading.value <= TABLE[name].high + 1e-9
        else:
            assert reading.value is None
            assert reading.reason


@pytest.mark.parametrize("name", NAMES)
def test_a_reading_does_not_depend_on_its_company(name: str, pictures: np.ndarray):
    together = read(name, pictures)
    white = np.full_like(pictures, 255)
    backwards = measure_images(pictures[::-1].copy(), [name], base_images=white, training_images=pictures[:2], together=True)[name][::-1]
    assert together == backwards


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_left_as_they_are(name: str, pictures: np.ndarray):
    before = pictures.copy()
    read(name, pictures)
    assert np.array_equal(before, pictures)


@pytest.mark.parametrize("name", NAMES)
def test_a_mirror_image_reads_the_same(name: str, pictures: np.ndarray):
    """Every instrument that ships is blind to left and right; half a pixel of resampling is allowed."""
    chosen = pictures[:5]
    mirrored = measure_images(
        chosen[:, :, ::-1].copy(), [name], base_images=np.full_like(chosen, 255), training_images=chosen[:2, :, ::-1].copy(), together=True
    )
    for one, other in zip(read(name, chosen), mirrored[name], strict=True):
        assert one.status == other.status
        if one.value is not None and other.value is not None:
            assert other.value == pytest.approx(one.value, abs=0.03 * (TABLE[name].high - TABLE[name].low))


@pytest.mark.parametrize("name", NAMES)
def test_what_it_needs_and_does_not_get_is_a_reason(name: str, pictures: np.ndarray):
    if TABLE[name].needs:
        assert all(reading.status == "not_measurable" for reading in measure_images(pictures, [name])[name])


def test_unknown_names_and_wrong_pictures_are_errors(pictures: np.ndarray):
    with pytest.raises(LabError, match="unknown instrument 'vibes'"):
        measure_images(pictures, ["vibes"])
    with pytest.raises(LabError, match="uint8"):
        measure_images(pictures.astype(np.float32), ["chroma"])


# --- sabotage: the wrong twin of every instrument, and the card that must notice it ---------------------------------------


class Drawn:
    """The pictures of known truth, drawn once: drawing takes longer than reading; and what was once found out about each of them."""

    def __init__(self) -> None:
        self.known, self.nuisances = truth.make_specimens(64), truth.make_nuisances(64)
        self._seen: dict[bytes, Picture] = {}

    def pictures(self, images: np.ndarray) -> list[Picture]:
        """Return what `make_pictures` does."""
        keys = [image.tobytes() for image in images]
        if new := [k for k, key in enumerate(keys) if key not in self._seen]:
            self._seen |= zip([keys[k] for k in new], make_pictures(images[new]), strict=True)
        return [self._seen[key] for key in keys]


@pytest.fixture(scope="module")
def drawn_before() -> Drawn:
    return Drawn()


@pytest.fixture(autouse=True)
def _drawn_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "card" in request.node.name:
        before = request.getfixturevalue("drawn_before")
        monkeypatch.setattr(cards, "make_specimens", lambda *_: before.known)
        monkeypatch.setattr(cards, "make_nuisances", lambda *_: before.nuisances)
        monkeypatch.setattr(cards, "make_pictures", before.pictures)


def card_of(name: str) -> Card:
    """The card on pictures as they are; of a concept, petri's own encoder's of `monster`."""
    return make_cards(same, 64, [name], concept=petri_companion().concept("monster"))[name]


@cache
def honest_card(name: str) -> Card:
    return card_of(name)


def same(images: np.ndarray) -> np.ndarray:
    return images


@pytest.mark.parametrize("name", NAMES)
def test_the_card_notices_a_wrong_twin(name: str, monkeypatch: pytest.MonkeyPatch):
    """Each row brings the twin that its card must catch: a row without one is not finished."""
    honest, original = honest_card(name), TABLE[name]
    twist = original.twin
    assert twist is not None
    twin = replace(original, measure=lambda picture, context: twist(original.measure(picture, context)))
    replace_row(monkeypatch, twin)
    wrong = card_of(name)
    assert honest.carried
    assert not wrong.carried or abs(wrong.bias) > abs(honest.bias) + 0.5


def replace_row(monkeypatch: pytest.MonkeyPatch, row: Instrument) -> None:
    monkeypatch.setattr(table_module, "ROWS", {**table_module.ROWS, row.name: row})


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_what_its_readings_mean(name: str):
    row = TABLE[name]
    assert row.name == name
    assert row.says
    assert row.lower != "lower" != row.higher != "higher" != row.lower
    assert row.low < row.high


@pytest.mark.parametrize("name", NAMES)
def test_on_clean_pictures_every_card_says_carried(name: str):
    card = honest_card(name)
    assert card.carried, card.note
    assert card.not_measurable < 0.05
    assert f"of {card.n_images} " in card.note or f"on {card.n_images} " in card.note


def test_the_card_of_a_swapped_grid_differs(monkeypatch: pytest.MonkeyPatch):
    """Rows read as columns: errors of up to four lines where the truth allows none."""
    twin = replace(TABLE["grid_rows"], measure=TABLE["grid_columns"].measure)
    replace_row(monkeypatch, twin)
    card = make_cards(same, 64, ["grid_rows"])["grid_rows"]
    assert card.error > 1
    assert not card.carried


def test_a_card_of_pictures_that_all_come_back_white_is_a_card():
    for name in ("foreground_share", "edge_sigma", "grid_rows", "shape_circle"):
        card = make_cards(lambda images: np.full_like(images, 255), 64, [name])[name]
        assert not card.carried
        assert "does not work on this base" in card.note
        assert cards.Card.from_json(card.to_json()) == card


def test_the_card_names_what_else_moves_an_instrument(monkeypatch: pytest.MonkeyPatch):
    """A twin of edge_sigma that reads chroma as well is moved by the fill; the honest one is not."""
    honest, chroma = TABLE["edge_sigma"], TABLE["chroma"]

    def measure(picture: Picture, context: Context) -> Reading:
        width, colour = honest.measure(picture, context), chroma.measure(picture, context)
        return width if width.value is None else replace(width, value=width.value + (colour.value or 0) / 30)

    assert max(make_cards(same, 64, ["edge_sigma"])["edge_sigma"].moved_by.values()) < 0.2
    replace_row(monkeypatch, replace(honest, measure=measure))
    card = make_cards(same, 64, ["edge_sigma"])["edge_sigma"]
    assert card.moved_by["fill"] > 0.5
    assert "also affected by fill" in card.note


def test_card_pictures_are_of_passes_and_of_failures():
    def smear(images: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(images))[:, None, None, None] % 2, images, np.uint8(255))

    found = cards.card_pictures(smear, 64, ["shape_circle", "chroma"], n_images=2)
    assert found["shape_circle"]["passes"].shape == (2, 64, 64, 3)
    assert (found["shape_circle"]["failures"] == 255).all()
    assert cards.card_pictures(same, 64, ["grid_rows"])["grid_rows"]["failures"].shape == (0, 64, 64, 3)


def test_rows_and_columns_are_not_swapped():
    image = make_examples(GridsData(generate="grids", sizes=("5x2",)), 64)[0].image[None]
    assert (read("grid_rows", image)[0].value, read("grid_columns", image)[0].value) == (2, 5)

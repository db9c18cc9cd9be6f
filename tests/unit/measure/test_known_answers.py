"""Instruments on pictures whose answer is known by construction."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab

from loralab.data import make_examples
from loralab.measure import make_cards, measure_images
from loralab.measure.cards import Card
from loralab.spec.models import GridsData, ShapesData


def drawn(**given: object) -> np.ndarray:
    return make_examples(ShapesData.model_validate({"generate": "shapes", **given}), 64)[0].image


def value(name: str, image: np.ndarray, **context: np.ndarray) -> float:
    reading = measure_images(image[None], [name], **context)[name][0]
    assert reading.value is not None, reading.reason
    return reading.value


def test_a_grey_disc_has_no_chroma_and_a_red_one_that_of_red():
    assert value("chroma", drawn(shapes=["circle"], fill="grey")) < 0.1
    assert value("grey_share", drawn(shapes=["circle"], fill="grey")) > 0.99
    lab = rgb2lab(np.array([[[221, 30, 40]]]) / 255)[0, 0]
    assert value("chroma", drawn(shapes=["circle"], fill="red")) == pytest.approx(np.hypot(*lab[1:]), abs=0.1)


@pytest.mark.parametrize("hue", ["red", "green", "blue"])
def test_each_hue_is_its_own_and_no_other(hue: str):
    image = drawn(shapes=["square"], fill=hue)
    for other in ("red", "green", "blue"):
        assert value(f"hue_{other}", image) == pytest.approx(float(other == hue), abs=0.06)


@pytest.mark.parametrize(("background", "white"), [("white", 1.0), ("grey", 0.0), ("yellow", 0.0), ("black", 0.0)])
def test_the_background_is_read_off_the_border(background: str, white: float):
    image = drawn(shapes=["circle"], fill="red", background=background)
    assert value("background_white", image) == white
    assert (value("background_from_white", image) < 1) is bool(white)


@pytest.mark.parametrize("shape", ["circle", "square", "triangle"])
@pytest.mark.parametrize("size", [0.6, 0.75])
def test_shapes_are_told_apart_turned_and_moved(shape: str, size: float):
    """A square turned by 20 degrees is still a square, and so on; the corners that a turn brings in are filled with white."""
    image = drawn(shapes=[shape], fill="blue", size=size, position=(0.47, 0.53))
    turned = ndimage.rotate(image, 20, reshape=False, order=1, mode="constant", cval=255).astype(np.uint8)
    for picture in (image, turned):
        assert [value(f"shape_{other}", picture) for other in ("circle", "square", "triangle")] == [
            float(other == shape) for other in ("circle", "square", "triangle")
        ]
        assert value("circle_excess", picture) == (1.0 if shape == "circle" else -0.5)


@pytest.mark.parametrize("shape", ["circle", "square", "triangle"])
@pytest.mark.parametrize("ends", [((255, 255, 255), (40, 70, 220)), ((250, 225, 40), (35, 165, 60))])
@pytest.mark.parametrize("turned", [False, True])
def test_a_ramp_behind_the_subject_is_background(shape: str, ends: tuple[tuple[int, int, int], tuple[int, int, int]], turned: bool):
    """The middle of a ramp holds colours that a border of two ends lacks; area of a circle of diameter .7: pi * .35^2 = .385."""
    share = np.linspace(0, 1, 64)[:, None, None]
    ramp = np.broadcast_to((1 - share) * np.array(ends[0]) + share * np.array(ends[1]), (64, 64, 3))
    behind = ramp.transpose(1, 0, 2) if turned else ramp
    inside = drawn(shapes=[shape], fill="black", size=0.7)[..., :1] < 128
    picture = np.where(inside, np.array([221, 30, 40]), behind).astype(np.uint8)
    assert value(f"shape_{shape}", picture) == 1
    assert value("hue_red", picture) > 0.95
    if shape == "circle":
        assert value("foreground_share", picture) == pytest.approx(0.385, abs=0.02)


@pytest.mark.parametrize("shape", ["star", "heart", "cross", "diamond", "ring"])
def test_other_shapes_are_no_primitives(shape: str):
    assert value("shape_primitive", drawn(shapes=[shape], fill="red", size=0.75)) == 0


def test_an_outline_is_seen_and_its_absence_too():
    assert value("outline_dark", drawn(shapes=["circle"], fill="red", outline="black")) > 0.95
    assert value("outline_dark", drawn(shapes=["circle"], fill="red")) < 0.05


@pytest.mark.parametrize("blur", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("fill", ["grey", "red", "blue"])
def test_blur_is_recovered_to_a_sixth(blur: float, fill: str):
    assert value("edge_sigma", drawn(shapes=["circle"], fill=fill, size=0.75, blur=blur)) == pytest.approx(blur, rel=1 / 6)


def test_blur_does_not_read_colour_and_colour_does_not_read_blur():
    widths = [value("edge_sigma", drawn(shapes=["circle"], fill=fill, size=0.75, blur=2)) for fill in ("grey", "red", "green", "blue")]
    assert np.ptp(widths) < 0.4
    chromas = [value("chroma", drawn(shapes=["circle"], fill="red", size=0.75, blur=blur)) for blur in (0, 1, 2)]
    assert np.ptp(chromas) < 3


def test_a_sharp_shape_on_a_blurred_pattern_has_depth_of_field():
    y, x = np.mgrid[:64, :64] // 16
    pattern = np.where(((x + y) % 2)[..., None], [250, 225, 40], [40, 70, 220]).astype(float)
    mask = (np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 18)[..., None]
    soft = ndimage.gaussian_filter(pattern, (2.5, 2.5, 0))
    pictures = [np.where(mask, [221, 30, 40], behind).astype(np.uint8) for behind in (pattern, soft)]
    flat, deep = (value("depth_of_field", picture) for picture in pictures)
    assert deep > flat + 0.5


@pytest.mark.parametrize("sharp_half", ["upper", "lower"])
def test_depth_of_field_is_the_difference_of_two_equal_halves(sharp_half: str):
    """Upright lines, blurred by 1 px in one half and by 3 px in the other: twice the deviation of {1, 3} is 2."""
    lines = np.repeat(np.where((np.arange(64) // 16) % 2, 30.0, 220.0)[None], 64, axis=0)
    fine, soft = ndimage.gaussian_filter1d(lines, 1, axis=1), ndimage.gaussian_filter1d(lines, 3, axis=1)
    upper, lower = (fine, soft) if sharp_half == "upper" else (soft, fine)
    image = np.repeat(np.concatenate([upper[:32], lower[32:]])[..., None], 3, axis=2).astype(np.uint8)
    assert value("depth_of_field", image) == pytest.approx(2, abs=0.4)
    assert value("depth_of_field", np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)) < 0.2


@pytest.mark.parametrize("size", ["2x2", "3x3", "4x4", "5x5", "6x6", "2x5"])
def test_grids_are_counted(size: str):
    image = make_examples(GridsData(generate="grids", sizes=(size,)), 64)[0].image
    columns, rows = int(size[0]), int(size[2])
    assert (value("grid_columns", image), value("grid_rows", image)) == (columns, rows)
    assert value("grid_beyond", image) == float(max(columns, rows) > 4)


def test_a_grid_of_objects_is_a_grid():
    image = np.full((64, 64, 3), 255, np.uint8)
    for top in (4, 25, 46):
        for left in (4, 25, 46):
            image[top : top + 14, left : left + 14] = (200, 30, 30)
    assert (value("grid_rows", image), value("grid_columns", image)) == (3, 3)
    assert value("object_count", image) == 9


def test_a_shape_is_no_grid():
    assert all(value("grid_present", drawn(shapes=[shape], fill="red")) == 0 for shape in ("circle", "square", "cross", "ring"))


def test_change_is_the_mean_of_an_independent_ciede2000():
    one, other = drawn(shapes=["circle"], fill="red"), drawn(shapes=["square"], fill="blue")
    expected = deltaE_ciede2000(rgb2lab(one), rgb2lab(other)).mean()
    assert value("change", one, base_images=other[None]) == pytest.approx(expected)
    assert value("change", one, base_images=one[None]) == 0


def test_a_copy_is_at_distance_zero_also_when_shifted_and_whichever_it_is_of():
    one, other = drawn(shapes=["circle"], fill="red"), drawn(shapes=["square"], fill="blue")
    shifted = drawn(shapes=["square"], fill="blue", position=(0.5 + 4 / 64, 0.5 - 2 / 64))
    training = np.stack([one, other])
    assert value("copy_distance", other, training_images=training) == 0
    assert value("copy_distance", shifted, training_images=training) < 0.5
    assert value("copy_distance", drawn(shapes=["star"], fill="green"), training_images=training) > 5


def test_cards_survive_their_json_and_say_how_many_pictures_they_rest_on():
    card = make_cards(lambda images: images, 64, ["chroma"])["chroma"]
    assert Card.from_json(card.to_json()) == card
    assert str(card.n_images) in card.note


def test_a_round_trip_that_destroys_grids_is_said_in_the_card():
    def smear(images: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(images.astype(float), (0, 6, 6, 0)).astype(np.uint8)

    card = make_cards(smear, 64, ["grid_present"])["grid_present"]
    assert not card.carried
    assert "does not work on this base" in card.note

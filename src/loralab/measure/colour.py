"""Colour of the subject: chroma, the share of grey, shares of hues."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, Taking, inverted, measured, negated, table_of
from loralab.measure.specimen import Specimen, alone, filled
from loralab.spec.models import COLOURS

#: below this C* a pixel has no hue to speak of
LEAST_CHROMA = 15.0
GREY_CHROMA = 8.0
#: another named hue as near as this counts as the same: pink and magenta, orange and brown
SAME_HUE = np.deg2rad(12)
HUES = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")


def measure_chroma(picture: Picture, _: Context) -> Reading:
    """Return the median C* over the subject."""
    return measured(float(np.median(picture.chroma[picture.subject_or_centre])))


def measure_grey_share(picture: Picture, _: Context) -> Reading:
    """Return the share of the subject's pixels with C* < 8."""
    return measured(float((picture.chroma[picture.subject_or_centre] < GREY_CHROMA).mean()))


def _palette_angles() -> np.ndarray:
    labs = rgb2lab(np.array([COLOURS[name] for name in HUES], dtype=np.float64)[None] / 255)[0]
    return np.arctan2(labs[:, 2], labs[:, 1])


PALETTE_ANGLES = _palette_angles()


def nearest_hues(lab: np.ndarray) -> np.ndarray:
    """Return the index in HUES (P,) of the nearest hue angle of each pixel (P, 3); -1 where a pixel has too little chroma."""
    angles = np.arctan2(lab[:, 2], lab[:, 1])
    apart = np.abs(np.angle(np.exp(1j * (angles[:, None] - PALETTE_ANGLES))))
    return np.where(np.hypot(lab[:, 1], lab[:, 2]) >= LEAST_CHROMA, apart.argmin(axis=1), -1)


def _measure_hue(name: str, picture: Picture) -> Reading:
    if "hues" not in picture.memo:
        picture.memo["hues"] = nearest_hues(picture.lab[picture.subject_or_centre])
    return measured(float((np.asarray(picture.memo["hues"]) == HUES.index(name)).mean()))


def measure_red(picture: Picture, _: Context) -> Reading:
    """Return the share of the subject's pixels that are red."""
    return _measure_hue("red", picture)


def measure_green(picture: Picture, _: Context) -> Reading:
    """Return the share of the subject's pixels that are green."""
    return _measure_hue("green", picture)


def measure_blue(picture: Picture, _: Context) -> Reading:
    """Return the share of the subject's pixels that are blue."""
    return _measure_hue("blue", picture)


def colour_of(word: str) -> tuple[int, int, int] | None:
    """Return the RGB of a colour's name in the palette, or of `#rrggbb`; None for another word."""
    if re.fullmatch(r"#[0-9a-fA-F]{6}", word):
        return int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16)
    return COLOURS.get(word)


def lab_of_rgb(rgb: tuple[int, int, int]) -> np.ndarray:
    """Return CIELAB (3,) of an RGB colour."""
    return np.asarray(rgb2lab(np.array(rgb, dtype=np.float64)[None, None] / 255)[0, 0])


def has_hue(rgb: tuple[int, int, int]) -> bool:
    """Return whether a colour has a hue to look for."""
    return bool(np.hypot(*lab_of_rgb(rgb)[1:]) >= LEAST_CHROMA)


def is_hue(lab: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return for each pixel (P, 3) whether its hue angle is nearer to the colour's than to any named hue that is another one."""
    own = lab_of_rgb(colour)
    angle = np.arctan2(own[2], own[1])
    others = PALETTE_ANGLES[_apart(PALETTE_ANGLES, angle) > SAME_HUE]
    angles = np.arctan2(lab[:, 2], lab[:, 1])
    nearest = _apart(angles[:, None], others[None]).min(axis=1)
    return np.asarray((np.hypot(lab[:, 1], lab[:, 2]) >= LEAST_CHROMA) & (_apart(angles, angle) <= nearest))


def _apart(one: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    """Return by how much angles differ, 0 to pi."""
    return np.asarray(np.abs(np.angle(np.exp(1j * (one - other)))))


def is_colour(lab: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return for each pixel (P, 3) whether no colour of the palette is nearer (CIEDE2000) to it than this one."""
    own = deltaE_ciede2000(lab, lab_of_rgb(colour)[None])
    others = [deltaE_ciede2000(lab, lab_of_rgb(rgb)[None]) for rgb in COLOURS.values() if rgb != colour]
    return np.asarray(own <= np.min(others, axis=0))


def _row(name: str, says: str, word: str, reads: Callable[[np.ndarray], np.ndarray]) -> Instrument:
    """Return the row of a share of the subject's pixels; its pictures of known truth are in the palette's colours and its own."""

    def measure(picture: Picture, _: Context) -> Reading:
        return measured(float(reads(picture.lab[picture.subject_or_centre]).mean()))

    def specimens(size_px: int) -> Iterator[Specimen]:
        own = colour_of(word)
        for fill, rgb in {**COLOURS, **({word: own} if own else {})}.items():
            for behind, size in product(("white", "black", "grey"), (0.5, 0.72)):
                if fill != behind:
                    image = filled(size_px, "circle" if size < 0.6 else "square", rgb, COLOURS[behind], size)
                    truth = {name: float(reads(lab_of_rgb(rgb)[None])[0])}
                    yield alone(image, truth, {"fill": fill, "background": behind, "size": size})

    return Instrument(
        name, "share", 0, 1, "continuous", says, 8, measure, lower=f"less {word}", higher=f"more {word}", twin=inverted,
        specimens=specimens, follows=("fill",),
    )  # fmt: skip


def hue_row(word: str) -> Instrument | None:
    """Return the instrument of one hue; None for a word that is no colour with a hue."""
    colour = colour_of(word)
    if colour is None or not has_hue(colour):
        return None
    return _row(f"hue[{word}]", f"share of the subject that has the hue of {word}, light or dark", word, lambda lab: is_hue(lab, colour))


def colour_row(word: str) -> Instrument | None:
    """Return the instrument of one colour; None for a word that is none."""
    colour = colour_of(word)
    if colour is None:
        return None
    return _row(f"colour[{word}]", f"share of the subject that is closer to {word} than to any other named colour", word,
                lambda lab: is_colour(lab, colour))  # fmt: skip


HUE = Taking(
    "hue", "COLOUR",
    f"one of {', '.join(name for name in COLOURS if has_hue(COLOURS[name]))}, or #rrggbb; grey has no hue, so use `colour[grey]`",
    "share of the subject that has the hue of a colour", hue_row, ("magenta", "cyan", "brown", "#ff00ff"),
)  # fmt: skip
COLOUR = Taking(
    "colour", "COLOUR", f"one of {', '.join(COLOURS)}, "
    "or #rrggbb", "share of the subject that is this colour, including its lightness", colour_row,
    ("magenta", "grey", "#336699"),
)  # fmt: skip


def _hue_row(name: str, measure: Callable[[Picture, Context], Reading]) -> Instrument:
    return Instrument(
        f"hue_{name}", "share", 0, 1, "continuous", f"share of the subject that is {name}", 8, measure, 2,
        lower=f"less {name}", higher=f"more {name}", twin=inverted, follows=("fill",),
    )  # fmt: skip


TABLE = table_of(
    Instrument(
        "chroma", "C*", 0, 150, "continuous", "how colourful the subject is (median C* in CIELAB); 0 is grey", 8, measure_chroma, 2,
        lower="greyer", higher="more colourful", twin=negated, follows=("fill",),
    ),
    Instrument(
        "grey_share", "share", 0, 1, "continuous", "share of the subject that is grey (C* below 8)", 8, measure_grey_share, 2,
        lower="less grey", higher="more grey", twin=inverted, follows=("fill",),
    ),
    _hue_row("red", measure_red),
    _hue_row("green", measure_green),
    _hue_row("blue", measure_blue),
)  # fmt: skip

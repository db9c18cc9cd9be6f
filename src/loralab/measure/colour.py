"""Colour of the subject: chroma, the share of grey, shares of hues."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2lab

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, measured, table_of
from loralab.spec.models import COLOURS

#: below this C* a pixel has no hue to speak of
LEAST_CHROMA = 15.0
GREY_CHROMA = 8.0
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


TABLE = table_of(
    Instrument("chroma", "C*", 0, 150, "continuous", "how colourful the subject is (median C* in CIELAB); 0 is grey", 8, measure_chroma, 2),
    Instrument("grey_share", "share", 0, 1, "continuous", "share of the subject that is grey (C* below 8)", 8, measure_grey_share, 2),
    Instrument("hue_red", "share", 0, 1, "continuous", "share of the subject that is red", 8, measure_red, 2),
    Instrument("hue_green", "share", 0, 1, "continuous", "share of the subject that is green", 8, measure_green, 2),
    Instrument("hue_blue", "share", 0, 1, "continuous", "share of the subject that is blue", 8, measure_blue, 2),
)

"""The background, read off the border of the picture."""

from __future__ import annotations

import numpy as np

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, inverted, measured, negated, table_of

#: wider than paint-white (L* > 95, C* < 5): the VAE alone moves a white border by a few units
WHITE_LIGHTNESS, WHITE_CHROMA = 92.0, 8.0
WHITE = np.array([100.0, 0.0, 0.0])


def measure_white(picture: Picture, _: Context) -> Reading:
    """Return 1 where the border's median colour is white, else 0."""
    lightness, a, b = np.median(picture.border, axis=0)
    return measured(float(lightness > WHITE_LIGHTNESS and np.hypot(a, b) < WHITE_CHROMA))


def measure_lightness(picture: Picture, _: Context) -> Reading:
    """Return the border's median L*."""
    return measured(float(np.median(picture.border[:, 0])))


def measure_chroma(picture: Picture, _: Context) -> Reading:
    """Return the border's median C*."""
    return measured(float(np.median(np.hypot(picture.border[:, 1], picture.border[:, 2]))))


def measure_from_white(picture: Picture, _: Context) -> Reading:
    """Return the deltaE76 of the border's median colour from white; 0 is white."""
    return measured(float(np.linalg.norm(np.median(picture.border, axis=0) - WHITE)))


TABLE = table_of(
    Instrument(
        "background_from_white", "deltaE", 0, 150, "continuous", "how far the background is from white; 0 is white", 0, measure_from_white,
        lower="closer to a white background", higher="further from a white background", twin=negated, follows=(),
    ),
    Instrument(
        "background_white", "share", 0, 1, "share", "is the background white? (border L* above 92, C* below 8)", 0, measure_white,
        lower="fewer white backgrounds", higher="more white backgrounds", twin=inverted, follows=(),
    ),
    Instrument(
        "background_lightness", "L*", 0, 100, "continuous", "lightness of the background", 0, measure_lightness,
        lower="darker background", higher="lighter background", twin=negated, follows=(),
    ),
    Instrument(
        "background_chroma", "C*", 0, 150, "continuous", "colourfulness of the background", 0, measure_chroma,
        lower="greyer background", higher="more colourful background", twin=negated, follows=(),
    ),
)  # fmt: skip

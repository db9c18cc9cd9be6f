"""Composition: how many objects, and how much of the picture they fill."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, measured, not_measurable, table_of

LEAST_OBJECT_SHARE = 0.01


def measure_object_count(picture: Picture, _: Context) -> Reading:
    """Return the number of separate parts of the subject that fill at least 1 % of the picture."""
    if picture.subject is None:
        return not_measurable("no subject stands out from the background")
    labels, n = ndimage.label(picture.subject)
    areas = ndimage.sum_labels(picture.subject, labels, np.arange(1, n + 1))
    return measured(float((areas >= LEAST_OBJECT_SHARE * picture.subject.size).sum()))


def measure_foreground_share(picture: Picture, _: Context) -> Reading:
    """Return the share of the picture that the subject fills."""
    if picture.subject is None:
        return not_measurable("no subject stands out from the background")
    return measured(float(picture.subject.mean()))


TABLE = table_of(
    Instrument("object_count", "objects", 0, 100, "continuous", "separate objects", 8, measure_object_count, 2),
    Instrument(
        "foreground_share", "share", 0, 1, "continuous", "share of the picture that the subject fills", 8, measure_foreground_share, 2
    ),
)

"""Composition: how many objects, how much of the picture they fill, where they lie, and whether the base's composition was kept."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Instrument, Reading, inverted, measured, negated, not_measurable, shifted, table_of

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


def measure_off_centre(picture: Picture, _: Context) -> Reading:
    """Return the distance of the subject's centre of mass from the middle of the picture, as a share of its side."""
    if picture.subject is None:
        return not_measurable("no subject stands out from the background")
    rows, columns = np.nonzero(picture.subject)
    height, width = picture.subject.shape
    return measured(float(np.hypot((rows.mean() + 0.5) / height - 0.5, (columns.mean() + 0.5) / width - 0.5)))


def measure_symmetry(picture: Picture, _: Context) -> Reading:
    """Return by how much the subject's mask overlaps its own mirror image about the upright through its centre of mass (Jaccard index)."""
    if picture.subject is None:
        return not_measurable("no subject stands out from the background")
    columns = np.nonzero(picture.subject)[1]
    width = picture.subject.shape[1]
    # column c goes to 2 * centre - c, to the nearest pixel; what leaves the picture is lost from the mirror image only
    goes_to = round(2 * float(columns.mean())) - np.arange(width)
    inside = (goes_to >= 0) & (goes_to < width)
    mirrored = np.zeros_like(picture.subject)
    mirrored[:, goes_to[inside]] = picture.subject[:, inside]
    return measured(_overlap(picture.subject, mirrored))


def measure_composition_kept(picture: Picture, context: Context) -> Reading:
    """Return by how much the subject's mask overlaps that of the base's picture at the same prompt and seed (Jaccard index)."""
    if context.base_lab is None:
        return not_measurable("there is no picture of the base to compare with")
    base = Picture(context.base_lab).subject
    if picture.subject is None or base is None:
        return not_measurable("no subject stands out from the background")
    return measured(_overlap(picture.subject, base))


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Jaccard index of two masks (H, W): the area of both over the area of either."""
    return float((one & other).sum() / (one | other).sum())


TABLE = table_of(
    Instrument(
        "object_count", "objects", 0, 100, "continuous", "separate objects", 8, measure_object_count, 2,
        lower="fewer objects", higher="more objects", twin=shifted, follows=(),
    ),
    Instrument(
        "off_centre", "share", 0, 0.71, "continuous", "how far the subject is from the centre", 8, measure_off_centre,
        lower="closer to the centre", higher="further from the centre", twin=negated, follows=("shape", "size"),
    ),
    Instrument(
        "symmetry", "share", 0, 1, "continuous", "how alike the subject's left and right are; 1 is symmetric", 16, measure_symmetry,
        lower="less symmetric", higher="more symmetric", twin=inverted, follows=(),
    ),
    Instrument(
        "composition_kept", "share", 0, 1, "continuous", "overlap of the subject with that of the base's picture at the same seed", 16,
        measure_composition_kept,
        needs="base_image", lower="a different composition", higher="more of the base's composition", twin=inverted,
    ),
    Instrument(
        "foreground_share", "share", 0, 1, "continuous", "share of the picture that the subject fills", 8, measure_foreground_share, 2,
        lower="smaller subject", higher="larger subject", twin=inverted, follows=("shape", "size"),
    ),
)  # fmt: skip

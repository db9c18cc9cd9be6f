"""Pictures against pictures: how far the base's was moved, how near a training picture is, how far a run's pictures lie apart."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.color import deltaE_ciede2000

from loralab.measure.picture import Context, Picture, lengths
from loralab.measure.reading import Instrument, Reading, measured, negated, not_measurable, table_of

COARSE_PX = 32
MOST_SHIFT = 3


def measure_change(picture: Picture, context: Context) -> Reading:
    """Return the mean deltaE2000 from the base's picture at the same prompt and seed."""
    if context.base_lab is None:
        return not_measurable("there is no picture of the base to compare with")
    return measured(float(deltaE_ciede2000(picture.lab, context.base_lab).mean()))


def measure_copy_distance(picture: Picture, context: Context) -> Reading:
    """Return the mean deltaE76 from the nearest training picture, both at 32 px, over shifts of up to 3 px; 0 is a copy."""
    if context.training_labs is None or not len(context.training_labs):
        return not_measurable("there is no training set to compare with")
    return measured(nearest_distance(picture.lab, context))


def measure_diversity(picture: Picture, context: Context) -> Reading:
    """Return the mean deltaE76, place by place at 32 px, from the other pictures of the same run in the same cell; 0 is one picture again.

    Over a run the mean of these readings is the mean distance of all its pairs.
    """
    if not context.peer_labs:
        return not_measurable("there is no other picture of the same training in this cell")
    own = coarse(picture.lab)
    # in order of size, so that the sum does not depend on the order of the pictures
    return measured(float(np.mean(sorted(float(lengths(own - coarse(other)).mean()) for other in context.peer_labs))))


def nearest_distance(lab: np.ndarray, context: Context) -> float:
    """Return the mean deltaE76 of a picture (H, W, 3) from the nearest training picture, both at 32 px, over shifts of up to 3 px."""
    own = coarse(lab)
    return min(_shifted_distance(own, other) for other in coarse_training(context))


def coarse_training(context: Context) -> list[np.ndarray]:
    """Return the training pictures at 32 px, made once for all pictures that are held against them."""
    if "coarse" not in context.memo and context.training_labs is not None:
        context.memo["coarse"] = [coarse(lab) for lab in context.training_labs]
    found = context.memo.get("coarse", [])
    return found if isinstance(found, list) else []


def coarse(lab: np.ndarray) -> np.ndarray:
    """Return CIELAB (32, 32, 3): the mean of each cell."""
    step = lab.shape[0] // COARSE_PX
    if step >= 1 and lab.shape[0] % COARSE_PX == 0 and lab.shape[1] == lab.shape[0]:
        return np.asarray(lab.reshape(COARSE_PX, step, COARSE_PX, step, 3).mean(axis=(1, 3)))
    zoom = (COARSE_PX / lab.shape[0], COARSE_PX / lab.shape[1], 1)
    return np.asarray(ndimage.zoom(lab, zoom, order=1))


def _shifted_distance(own: np.ndarray, other: np.ndarray) -> float:
    """Return the least mean deltaE76 of the inner part of ``own`` from ``other`` under shifts."""
    inner = slice(MOST_SHIFT, COARSE_PX - MOST_SHIFT)
    squares = []
    for one, two in zip(own[inner, inner].transpose(2, 0, 1), other.transpose(2, 0, 1), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(two, (COARSE_PX - 2 * MOST_SHIFT,) * 2)  # (7, 7, h, w)
        off = windows - one
        squares.append(off * off)
    apart = np.sqrt(squares[0] + squares[1] + squares[2])
    return float(apart.mean(axis=(2, 3)).min())


TABLE = table_of(
    Instrument(
        "change", "deltaE", 0, 150, "continuous", "how different the picture is from the base's at the same seed (CIEDE2000)", 0,
        measure_change,
        needs="base_image", lower="changed less", higher="changed more", twin=negated,
    ),
    Instrument(
        "copy_distance", "deltaE", 0, 150, "continuous", "distance from the nearest training picture; 0 is a copy", 0,
        measure_copy_distance,
        needs="training_images", lower="closer to the training set", higher="further from it", twin=negated,
    ),
    Instrument(
        "diversity", "deltaE", 0, 150, "continuous",
        "mean distance from the same training's pictures at other seeds; 0 means that all are the same picture", 0, measure_diversity,
        needs="peers", lower="more alike from seed to seed", higher="more varied from seed to seed", twin=negated,
    ),
)  # fmt: skip

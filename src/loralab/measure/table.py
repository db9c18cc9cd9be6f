"""The table of instruments, and the one function that measures with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loralab.errors import lab_error
from loralab.measure import background, blur, colour, comparison, composition, grid, outline, shape
from loralab.measure import concept as concepts
from loralab.measure.concept import Concept
from loralab.measure.picture import Context, Picture, make_labs, make_pictures
from loralab.measure.reading import Instrument, Reading

TABLE: Mapping[str, Instrument] = {
    **colour.TABLE, **background.TABLE, **shape.TABLE, **outline.TABLE, **blur.TABLE, **grid.TABLE, **composition.TABLE, **comparison.TABLE,
    **concepts.TABLE,
}  # fmt: skip


def measure_images(
    images: np.ndarray,
    names: Sequence[str],
    *,
    base_images: np.ndarray | None = None,
    training_images: np.ndarray | None = None,
    together: bool = False,
    concept: Concept | None = None,
) -> dict[str, list[Reading]]:
    """Return one reading a picture (N, H, W, 3) uint8 for each named instrument.

    ``base_images`` (N, H, W, 3) are the base's at the same seeds, ``training_images`` (M, H, W, 3) the training set; ``together``
    says that the pictures are those of one run in one cell, so that each may be held against the others; ``concept`` is what the
    instrument of that name looks for. Raises LabError("measurement") for an unknown name or for pictures of another shape or type.
    """
    _check(images, names)
    base = None if base_images is None else make_labs(base_images)
    training = None if training_images is None else make_labs(training_images)
    seen: dict[str, object] = {}
    pictures = make_pictures(images)
    share = None if concept is None else concept.share
    contexts = [
        Context(None if base is None else base[index], training, peers_of(pictures, index) if together else (), share, seen)
        for index in range(len(images))
    ]
    found: dict[str, list[Reading]] = {name: [] for name in names}
    for picture, context in zip(pictures, contexts, strict=True):
        for name in names:
            found[name].append(measure_picture(name, picture, context))
    return found


def peers_of(pictures: Sequence[Picture], index: int) -> list[np.ndarray]:
    """Return CIELAB of all pictures but one."""
    return [picture.lab for number, picture in enumerate(pictures) if number != index]


def measure_picture(name: str, picture: Picture, context: Context) -> Reading:
    """Return the reading of one instrument on one picture."""
    return TABLE[name].measure(picture, context)


def _check(images: np.ndarray, names: Sequence[str]) -> None:
    unknown = sorted(set(names) - TABLE.keys())
    if unknown:
        raise lab_error("measurement", f"unknown instrument {unknown[0]!r}", f"one of {', '.join(TABLE)}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 32:
        raise lab_error("measurement", f"pictures of shape {images.shape} and type {images.dtype}", "(N, H, W, 3) uint8, 32 px or more")

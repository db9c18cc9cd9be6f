"""Specimens of runs: pictures that stand for those of one training in one cell, alike or not to a degree that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image
from skimage.color import deltaE_cie76, rgb2lab

from loralab.measure.specimen import Specimen, alone, drawn

SHAPES_OF_A_RUN = ("circle", "square", "triangle", "heart")
FILLS_OF_A_RUN = ("red", "green", "blue", "yellow")
BACKGROUNDS_OF_A_RUN = ("white", "purple", "cyan", "black")
SIZES_OF_A_RUN = (0.75, 0.6, 0.45, 0.68)
#: what differs between the pictures of a run, from nothing to everything
VARIED: dict[str, tuple[str, ...]] = {
    "nothing": (), "size": ("size",), "shape": ("shapes",), "fill": ("fill",), "fill and shape": ("fill", "shapes"),
    "background": ("background",), "all": ("shapes", "fill", "background", "size"),
}  # fmt: skip


def make_runs(size_px: int) -> Iterator[Specimen]:
    """Yield runs of four pictures each; a picture's truth is its mean deltaE76 from the other three, each shrunk to 32 px by area."""
    options: dict[str, tuple[object, ...]] = {
        "shapes": tuple([shape] for shape in SHAPES_OF_A_RUN), "fill": FILLS_OF_A_RUN, "background": BACKGROUNDS_OF_A_RUN,
        "size": SIZES_OF_A_RUN,
    }  # fmt: skip
    for varied, names in VARIED.items():
        for first in range(3):
            kept = {name: values[first] for name, values in options.items()}
            images = [drawn(size_px, **kept | {name: options[name][(first + k) % 4] for name in names}) for k in range(4)]
            for number, image in enumerate(images):
                others = [other for k, other in enumerate(images) if k != number]
                truth = {"diversity": float(np.mean([_apart(image, other) for other in others]))}
                yield replace(alone(image, truth, {"varied": varied}), group=f"{varied} {first}")


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean deltaE76 of two pictures, shrunk to 32 px by area in CIELAB."""
    small = [np.stack([_shrunk(channel) for channel in rgb2lab(image / 255.0).transpose(2, 0, 1)], axis=-1) for image in (one, other)]
    return float(deltaE_cie76(small[0], small[1]).mean())


def _shrunk(channel: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(channel.astype(np.float32)).resize((32, 32), Image.Resampling.BOX))

"""Instruments that read pictures for the fidelity table: in go uint8 pictures, out come colour names and shape names.

None of them shares code with the training, and none knows the prompt.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

from loralab.petri.draw import shape_mask
from loralab.petri.words import PALETTE, SHAPES, TINTS

BORDER_PX = 3
SUBJECT_DELTA_E = 22.0  # CIE76 from the border's colour; the autoencoder's own errors stay below
TEMPLATE_PX = 32
SMALLEST_PART_PX = 5  # px of area
MOST_OF_A_LINE = 0.75  # share of its filled silhouette that a hollow shape covers at most; the ring, filled, covers more
DARK_WHITE = 70.0  # L* of a white background below which the picture is dark: white is drawn at 100, dark white at 43


def to_lab(picture: np.ndarray) -> np.ndarray:
    """Return CIELAB, float (H, W, 3)."""
    return rgb2lab(picture / 255.0)


@lru_cache(maxsize=1)
def palette_lab() -> np.ndarray:
    """Return the palette in CIELAB, (12, 3)."""
    return rgb2lab(np.array([list(PALETTE.values())]) / 255.0)[0]


def border_lab(lab: np.ndarray) -> np.ndarray:
    """Return the median colour of the border, (3,)."""
    edge = np.ones(lab.shape[:2], dtype=bool)
    edge[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    return np.median(lab[edge], axis=0)


def nearest_colours(lab: np.ndarray) -> np.ndarray:
    """Return the index of the nearest palette colour of each row, (N,)."""
    return np.linalg.norm(lab[:, None] - palette_lab(), axis=-1).argmin(axis=1)


def read_background(picture: np.ndarray) -> str:
    """Return the name of the border's colour."""
    return tuple(PALETTE)[int(nearest_colours(border_lab(to_lab(picture))[None])[0])]


def subject_mask(picture: np.ndarray) -> np.ndarray:
    """Return where the picture differs from its border, bool (H, W), without specks."""
    lab = to_lab(picture)
    different = np.linalg.norm(lab - border_lab(lab), axis=-1) > SUBJECT_DELTA_E
    return ndimage.binary_opening(different, np.ones((2, 2)))


def read_subject_colour(picture: np.ndarray, among: tuple[str, ...] = tuple(PALETTE)) -> str | None:
    """Return the colour name with the most pixels of the subject among those asked for; None without a subject."""
    mask = subject_mask(picture)
    inside = ndimage.binary_erosion(mask) if ndimage.binary_erosion(mask).sum() > 30 else mask
    if not inside.any():
        return None
    names = np.array(tuple(PALETTE))[nearest_colours(to_lab(picture)[inside])]
    counts = {name: int((names == name).sum()) for name in among}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None


def read_tint(picture: np.ndarray) -> str | None:
    """Return the subject's most frequent chromatic colour: the features of a tinted sprite are black and white."""
    return read_subject_colour(picture, TINTS)


def frame_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask cut to what it holds, scaled by its longer side and centred, float (TEMPLATE_PX, TEMPLATE_PX)."""
    rows, columns = np.where(mask.any(axis=1))[0], np.where(mask.any(axis=0))[0]
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    scale = TEMPLATE_PX / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BOX))
    framed = np.zeros((TEMPLATE_PX, TEMPLATE_PX), dtype=np.float32)
    top, left = (TEMPLATE_PX - height) // 2, (TEMPLATE_PX - width) // 2
    framed[top : top + height, left : left + width] = small
    return framed


@lru_cache(maxsize=1)
def shape_templates() -> dict[str, np.ndarray]:
    """Return the framed silhouette of each shape; the ring keeps its hole."""
    return {shape: frame_mask(shape_mask(shape, 64) > 0.5) for shape in SHAPES}


def read_shape(picture: np.ndarray) -> str | None:
    """Return the shape whose silhouette overlaps most with the largest part (soft Jaccard index); None without one.

    Lines are filled first; a hole in a thick shape is kept, which tells the ring from the circle.
    """
    parts, n = ndimage.label(subject_mask(picture))
    if n == 0:
        return None
    areas = ndimage.sum_labels(np.ones_like(parts), parts, range(1, n + 1))
    part = parts == 1 + int(np.argmax(areas))
    filled = ndimage.binary_fill_holes(part)
    keep_hole = 0.5 < part.sum() / filled.sum() < 0.93
    framed = frame_mask(part if keep_hole else filled)
    overlaps = {
        shape: float(np.minimum(framed, other).sum() / np.maximum(framed, other).sum())
        for shape, other in shape_templates().items()
        if (shape == "ring") <= keep_hole
    }
    return max(overlaps, key=lambda shape: overlaps[shape])


def count_parts(picture: np.ndarray) -> int:
    """Return the number of separate parts of the subject; four or more are read as a grid."""
    parts, n = ndimage.label(subject_mask(picture))
    if n == 0:
        return 0
    return int((ndimage.sum_labels(np.ones_like(parts), parts, range(1, n + 1)) >= SMALLEST_PART_PX).sum())


def read_fill(picture: np.ndarray) -> str | None:
    """Return "outlined" for a subject that covers little of its filled silhouette, else "filled"; None without a subject."""
    mask = subject_mask(picture)
    if not mask.any():
        return None
    return "outlined" if mask.sum() / ndimage.binary_fill_holes(mask).sum() < MOST_OF_A_LINE else "filled"


def read_light(picture: np.ndarray) -> str:
    """Return "dark" or "normal" for a picture whose background is white."""
    return "dark" if border_lab(to_lab(picture))[0] < DARK_WHITE else "normal"

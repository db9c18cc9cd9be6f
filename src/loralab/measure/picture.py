"""A picture under measurement: pixels in, and what several instruments share (CIELAB, background, subject) out, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from scipy import ndimage
from skimage.color import rgb2lab

#: width of the border ring that stands for the background, as a share of the side (2 px of 64)
BORDER_SHARE = 1 / 32
#: border colours are gathered in cells of this many units of CIELAB; a cell with less than this share of the border is no background
COLOUR_CELL, LEAST_BORDER_SHARE = 12.0, 0.10
#: a border that lies within this deltaE76 (90th percentile) of a smooth surface is plain or a ramp. Chosen on 19 ramps; on 60 others
#: nine drawn shapes are then told apart in .90 (.75 behind petri's VAE)
MOST_OFF_SURFACE = 6.0
#: a subject must stand out from the background by this much (deltaE76) somewhere
LEAST_CONTRAST = 12.0
LEAST_SUBJECT, MOST_SUBJECT = 0.015, 0.93
REFERENCE_PX = 64


@dataclass(frozen=True)
class Context:
    """What some instruments compare a picture with."""

    base_lab: np.ndarray | None = None  # (H, W, 3), the base's picture at the same seed
    training_labs: np.ndarray | None = None  # (M, H, W, 3)
    peer_labs: Sequence[np.ndarray] = ()  # the other pictures (H, W, 3) of the same run and cell, at other seeds
    concept_share: Callable[[np.ndarray], float] | None = None  # how sure an encoder is that pixels (H, W, 3) uint8 show a concept
    #: what is made of the training pictures once and read for every picture
    memo: dict[str, object] = field(default_factory=dict)


class Picture:
    """One picture in CIELAB (H, W, 3); its background and its subject are found when first asked for."""

    def __init__(self, lab: np.ndarray, pixels: np.ndarray | None = None) -> None:
        self.lab = lab
        self.pixels = pixels  # (H, W, 3) uint8, for what reads no CIELAB
        #: what one family of instruments computes once and reads several times
        self.memo: dict[str, object] = {}

    @property
    def size_px(self) -> int:
        """Height (the pictures are square or nearly so)."""
        return int(self.lab.shape[0])

    @property
    def px(self) -> float:
        """How many of its pixels make one pixel of a 64 px picture."""
        return self.size_px / REFERENCE_PX

    @property
    def border_width(self) -> int:
        """Width in pixels of the ring that stands for the background."""
        return max(1, round(self.size_px * BORDER_SHARE))

    @cached_property
    def border(self) -> np.ndarray:
        """Pixels (P, 3) of the outermost ring."""
        return self.lab[border_ring(*self.lab.shape[:2], self.border_width)]

    @cached_property
    def background_colours(self) -> np.ndarray:
        """Colours (Q, 3) that fill the border: one for a plain background, several for a gradient or a pattern."""
        cells, which, counts = np.unique(np.floor(self.border / COLOUR_CELL), axis=0, return_inverse=True, return_counts=True)
        which = which.reshape(-1)
        often = [k for k in range(len(cells)) if counts[k] >= LEAST_BORDER_SHARE * len(self.border)]
        if not often:
            return np.median(self.border, axis=0)[None]
        return np.stack([self.border[which == k].mean(axis=0) for k in often])

    @cached_property
    def distance(self) -> np.ndarray:
        """DeltaE76 (H, W) of each pixel from the background: from its smooth surface, else from the nearest colour of the border."""
        surface = background_surface(self.lab, self.border_width)
        if surface is not None:
            return lengths(self.lab - surface)
        return np.min([lengths(self.lab - colour) for colour in self.background_colours], axis=0)

    @cached_property
    def contrast(self) -> float:
        """How far the subject stands out: the 97th percentile of the distance, a robust maximum."""
        return float(np.percentile(self.distance, 97))

    @cached_property
    def level(self) -> float:
        """The distance at which the subject's edge lies: half of its contrast, as for a blurred step."""
        return 0.5 * self.contrast

    @cached_property
    def subject(self) -> np.ndarray | None:
        """Mask (H, W) of the subject, specks left out and holes kept; None where it cannot be told from the background."""
        if self.contrast < LEAST_CONTRAST:
            return None
        labels, n = ndimage.label(self.distance > self.level)
        if n == 0:
            return None
        areas = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(1, n + 1))
        kept = np.flatnonzero(areas >= 0.1 * areas.max()) + 1
        mask = np.isin(labels, kept)
        return mask if LEAST_SUBJECT <= mask.mean() <= MOST_SUBJECT else None

    @cached_property
    def subject_or_centre(self) -> np.ndarray:
        """Mask (H, W) of the subject; where there is none to be told from the background, the central disc stands for it."""
        if self.subject is not None:
            return self.subject
        height, width = self.lab.shape[:2]
        y, x = np.mgrid[:height, :width]
        return (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 < (0.25 * height) ** 2

    @cached_property
    def chroma(self) -> np.ndarray:
        """C* (H, W)."""
        return np.hypot(self.lab[:, :, 1], self.lab[:, :, 2])


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths (...) of vectors (..., 3); numpy's own sum over so short an axis takes four times as long."""
    return np.asarray(np.sqrt(sum_of_three(vectors * vectors)))


def sum_of_three(values: np.ndarray) -> np.ndarray:
    """Return the sum (...) over the last axis of (..., 3), in the order in which numpy adds."""
    return np.asarray(values[..., 0] + values[..., 1] + values[..., 2])


@cache
def border_ring(height: int, width: int, thickness: int) -> np.ndarray:
    """Return the outermost ring (H, W) bool."""
    ring = np.ones((height, width), dtype=bool)
    ring[thickness:-thickness, thickness:-thickness] = False
    return ring


@cache
def _surface_terms(height: int, width: int, thickness: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the terms (H, W, 5) of a surface and the least-squares solution (5, P) from the border's P pixels.

    The terms are the harmonic polynomials up to degree 2: such a surface is decided by its values on the border.
    """
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x**2 - y**2], axis=-1)
    return terms, np.linalg.pinv(terms[border_ring(height, width, thickness)])


def background_surface(lab: np.ndarray, thickness: int) -> np.ndarray | None:
    """Return the smooth background (H, W, 3) that the border of ``lab`` implies; None where no smooth surface fits the border."""
    terms, solution = _surface_terms(lab.shape[0], lab.shape[1], thickness)
    ring = border_ring(lab.shape[0], lab.shape[1], thickness)
    surface = terms @ (solution @ lab[ring])
    off = lengths(lab[ring] - surface[ring])
    return np.asarray(surface) if np.percentile(off, 90) <= MOST_OFF_SURFACE else None


def make_labs(images: np.ndarray) -> np.ndarray:
    """Return CIELAB (N, H, W, 3), D65, of sRGB images (N, H, W, 3) uint8."""
    return np.asarray(rgb2lab(images.astype(np.float64) / 255))


def make_pictures(images: np.ndarray) -> Sequence[Picture]:
    """Return the pictures of (N, H, W, 3) uint8 images."""
    return [Picture(lab, image) for lab, image in zip(make_labs(images), images, strict=True)]

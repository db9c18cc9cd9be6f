"""Sharpness: how wide edges are, how much that varies over the picture, and local contrast.

Edge width by re-blurring (Zhuo & Sim 2011, "Defocus map estimation from a single image", eq. 4): with the gradient ratio R of an edge
before and after a blur of s0, the edge's own width is s0 / sqrt(R^2 - 1).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from loralab.measure.picture import Context, Picture, sum_of_three
from loralab.measure.reading import Instrument, Reading, measured, negated, not_measurable, table_of

REBLUR_PX, NOISE_PX = 1.5, 0.5
#: an edge counts where its gradient is at least this share of the strongest, and this much per px of a 64 px picture; for the spread of
#: sharpness weaker edges count too, since the blurred ones are weak by themselves
STRONG_SHARE, WEAK_SHARE, LEAST_GRADIENT = 0.3, 0.05, 1.5
MOST_SIGMA_PX = 8.0
#: wider edges count as this wide in the spread, so that a few flat slopes do not make it
WIDEST_IN_SPREAD_PX = 5.0
#: where gradients of one neighbourhood disagree more than this, edges meet, and neither's width can be read
LEAST_COHERENCE, NEIGHBOURHOOD_PX = 0.7, 1.0
LEAST_EDGE_PIXELS = 12
WINDOW_PX = 7


def edge_widths(picture: Picture, least_share: float = STRONG_SHARE) -> np.ndarray:
    """Return the width (sigma in px of a 64 px picture) of each strong edge pixel (P,); empty where there is none.

    Only ridges of the gradient are read: beside its ridge a blurred edge looks wider than it is.
    """
    if "edges" not in picture.memo:
        picture.memo["edges"] = _ridge_widths(picture)
    height, widths, strongest = np.asarray(picture.memo["edges"])
    return np.asarray(widths[height >= np.maximum(LEAST_GRADIENT, least_share * strongest)])


def _ridge_widths(picture: Picture) -> np.ndarray:
    """Return (3, P) of the ridge pixels inside the margin: gradient per px of a 64 px picture, width, the picture's strongest gradient."""
    scale = picture.px
    down, right = _gradients(picture.lab, NOISE_PX * scale)
    height = _length(down, right)
    before = height * scale
    after = _length(*_gradients(picture.lab, float(np.hypot(NOISE_PX, REBLUR_PX)) * scale)) * scale
    ridges = _ridges(down, right, height, scale)
    margin = max(2, round(3 * scale))
    ridges[:margin], ridges[-margin:], ridges[:, :margin], ridges[:, -margin:] = False, False, False, False
    ratio = before[ridges] / np.maximum(after[ridges], 1e-9)
    total = REBLUR_PX / np.sqrt(np.maximum(ratio**2 - 1, (REBLUR_PX / MOST_SIGMA_PX) ** 2))
    # the small blur that tames pixel noise, and the central difference (a box of two pixels), are taken off
    widths = np.sqrt(np.maximum(total**2 - NOISE_PX**2 - 1 / (3 * scale**2), 0.0))
    return np.stack([before[ridges], widths, np.full(len(widths), before.max())])


def _gradients(lab: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the CIELAB gradients (H, W, 3) downwards and to the right, behind a Gaussian of ``sigma`` px."""
    smooth = ndimage.gaussian_filter(lab, (sigma, sigma, 0), mode="nearest")
    return np.gradient(smooth, axis=0), np.gradient(smooth, axis=1)


def _length(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(sum_of_three(down**2 + right**2)))


def _ridges(down: np.ndarray, right: np.ndarray, length: np.ndarray, scale: float) -> np.ndarray:
    """Return the pixels (H, W) bool on a ridge of the gradient, where no edges meet.

    Non-maximum suppression (Canny 1986) along the direction of the colour structure tensor (Di Zenzo 1986), whose
    coherence is low where edges of different directions meet.
    """
    yy, xx, xy = (ndimage.gaussian_filter(sum_of_three(one * other), NEIGHBOURHOOD_PX * scale)
                  for one, other in ((down, down), (right, right), (down, right)))  # fmt: skip
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    coherence = np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, 1e-9)
    height = ndimage.gaussian_filter(length, 0.5 * scale)
    y, x = np.mgrid[: height.shape[0], : height.shape[1]]
    dy, dx = np.sin(angle) * scale, np.cos(angle) * scale
    beside = [ndimage.map_coordinates(height, [y + sign * dy, x + sign * dx], order=1, mode="nearest") for sign in (1, -1)]
    return np.asarray((height >= 0.999 * np.maximum(*beside)) & (coherence > LEAST_COHERENCE))


def measure_edge_sigma(picture: Picture, _: Context) -> Reading:
    """Return the median width of the strong edges."""
    widths = edge_widths(picture)
    if len(widths) < LEAST_EDGE_PIXELS:
        return not_measurable("too few clear edges")
    return measured(float(np.median(widths)))


def measure_depth_of_field(picture: Picture, _: Context) -> Reading:
    """Return twice the standard deviation of edge widths: by how much two equal halves of the edges would differ, whichever is sharp."""
    widths = edge_widths(picture, WEAK_SHARE)
    if len(widths) < LEAST_EDGE_PIXELS:
        return not_measurable("too few clear edges")
    return measured(float(2 * np.minimum(widths, WIDEST_IN_SPREAD_PX).std()))


def measure_local_contrast(picture: Picture, _: Context) -> Reading:
    """Return the mean over the picture of the standard deviation of L* in windows of 7 px."""
    lightness, size = picture.lab[:, :, 0], max(3, round(WINDOW_PX * picture.px))
    mean = ndimage.uniform_filter(lightness, size)
    variance = np.maximum(ndimage.uniform_filter(lightness**2, size) - mean**2, 0)
    return measured(float(np.sqrt(variance).mean()))


TABLE = table_of(
    Instrument(
        "edge_sigma", "px", 0, MOST_SIGMA_PX, "continuous", "width of the edges: small is sharp, large is blurred", 16,
        measure_edge_sigma, 2,
        lower="sharper edges", higher="softer edges", twin=negated, follows=("blur",),
    ),
    Instrument(
        "depth_of_field", "px", 0, MOST_SIGMA_PX, "continuous", "how much sharpness varies over the picture", 16, measure_depth_of_field, 2,
        lower="less depth of field", higher="more depth of field", twin=negated, follows=(),
    ),
    Instrument(
        "local_contrast", "L*", 0, 50, "continuous", "local contrast between light and dark; haze lowers it", 0, measure_local_contrast,
        lower="softer contrast", higher="stronger contrast", twin=negated,
    ),
)  # fmt: skip

"""Specimens of arrangement: lopsided subjects away from the middle, each beside another arrangement; copies and what is none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image, ImageDraw

from loralab.measure.specimen import Specimen
from loralab.spec.models import COLOURS

SUPERSAMPLING = 8
#: where the tip of the triangle stands over its base (0 is the middle), and where the whole lies (shares of the side)
TIPS = (0.0, 0.6, 1.2)
PLACES = ((0.5, 0.42), (0.5, 0.5), (0.56, 0.5), (0.42, 0.58))
PAIRS = (("red", "white"), ("yellow", "blue"))
HALF_EXTENT = 0.24


def make_arrangements(size_px: int) -> Iterator[Specimen]:
    """Yield triangles whose tip leans by three amounts, at four places, in two pairs of colours; the base's picture is another of them."""
    drawings = [(tip, place) for tip, place in product(TIPS, PLACES)]
    for number, ((tip, place), (fill, behind)) in enumerate(product(drawings, PAIRS)):
        other = drawings[(number * 5 + 3) % len(drawings)] if number % 4 else (tip, place)
        inside, beside = _mask(tip, place, size_px), _mask(*other, size_px)
        image, base = _picture(inside, fill, behind, size_px), _picture(beside, fill, behind, size_px)
        truth = {
            "off_centre": _off_centre(inside),
            "symmetry": _symmetry(inside),
            "composition_kept": float((inside & beside).sum() / (inside | beside).sum()),
        }
        yield Specimen(image, base, image, truth, {"tip": tip, "place": f"{place[0]:g}, {place[1]:g}", "fill": fill})


def _mask(tip: float, place: tuple[float, float], size_px: int) -> np.ndarray:
    """Return the pixels (side, side) bool of a triangle, drawn larger than the picture."""
    side = SUPERSAMPLING * size_px
    canvas = Image.new("1", (side, side), 0)
    # the middle of the corners stays where the place says, however far the tip leans
    corners = [(tip - tip / 3, -1.0), (1 - tip / 3, 1.0), (-1 - tip / 3, 1.0)]
    points = [((place[0] + HALF_EXTENT * x) * side, (place[1] + HALF_EXTENT * y) * side) for x, y in corners]
    ImageDraw.Draw(canvas).polygon(points, fill=1)
    return np.asarray(canvas)


def _picture(inside: np.ndarray, fill: str, behind: str, size_px: int) -> np.ndarray:
    canvas = Image.new("RGB", (inside.shape[1], inside.shape[0]), COLOURS[behind])
    canvas.paste(COLOURS[fill], mask=Image.fromarray(inside))
    return np.asarray(canvas.resize((size_px, size_px), Image.Resampling.BOX))


def _off_centre(inside: np.ndarray) -> float:
    """Return the distance of the centre of area from the middle, as a share of the side, from sums over rows and columns."""
    side = inside.shape[0]
    across = (np.arange(side) + 0.5) / side - 0.5
    area = inside.sum()
    return float(np.hypot(inside.sum(axis=0) @ across / area, inside.sum(axis=1) @ across / area))


def _symmetry(inside: np.ndarray) -> float:
    """Return the overlap of the drawing with its mirror image about its centre, row by row from the ends of each row's run."""
    centre = float((inside.sum(axis=0) * np.arange(inside.shape[1])).sum() / inside.sum())
    both = either = 0.0
    for row in inside[inside.any(axis=1)]:
        columns = np.flatnonzero(row)
        low, high = columns[0] - 0.5, columns[-1] + 0.5
        shared = max(0.0, min(high, 2 * centre - low) - max(low, 2 * centre - high))
        both += shared
        either += 2 * (high - low) - shared
    return both / either

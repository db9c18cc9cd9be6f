"""Specimens of layout: line grids, grids of objects, scattered objects, and pictures that only resemble a grid."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import ndimage

from loralab.data import make_examples
from loralab.generators import make_mask
from loralab.measure.specimen import Specimen, alone
from loralab.spec.models import COLOURS, GridsData

#: colours of what is drawn and of what lies behind it
PAIRS = (("black", "white"), ("red", "yellow"))
#: how many objects are scattered: primes, so that they never fill a grid
SCATTERED = (1, 2, 3, 5, 7)
NO_GRID = {"grid_present": 0.0, "grid_beyond": 0.0}


def make_layouts(size_px: int, rng: np.random.Generator) -> Iterator[Specimen]:
    """Yield the specimens of layout for pictures of ``size_px``."""
    yield from _line_grids(size_px)
    yield from _object_grids(size_px)
    yield from _scattered_objects(size_px, rng)
    yield from _stripes(size_px)
    yield from _textures(size_px, rng)


def grid_truth(rows: int, columns: int) -> dict[str, float]:
    """Return what the grid instruments should read."""
    return {
        "grid_present": 1.0, "grid_beyond": float(max(columns, rows) > 4), "grid_rows": float(rows), "grid_columns": float(columns),
        "grid_cells": float(rows * columns),
    }  # fmt: skip


def _line_grids(size_px: int) -> Iterator[Specimen]:
    for columns, rows, (line, behind) in product(range(2, 7), range(2, 7), PAIRS):
        spec = GridsData.model_validate({"generate": "grids", "sizes": [f"{columns}x{rows}"], "line": line, "background": behind})
        image = make_examples(spec, size_px)[0].image
        yield alone(image, grid_truth(rows, columns), {"layout": "lines", "finest": max(columns, rows), "line": line})


def _object_grids(size_px: int) -> Iterator[Specimen]:
    for k, shape, (colour, behind) in product((2, 3, 4), ("circle", "square"), PAIRS):
        places = [((column + 0.5) / k, (row + 0.5) / k) for row in range(k) for column in range(k)]
        image = _objects(size_px, shape, places, 0.62 / k, colour, behind)
        yield alone(image, grid_truth(k, k) | {"object_count": float(k * k)}, {"layout": "objects", "finest": k})


def _scattered_objects(size_px: int, rng: np.random.Generator) -> Iterator[Specimen]:
    """Yield objects in some cells of three by three, each moved a little."""
    for n, shape, (colour, behind) in product(SCATTERED, ("circle", "square", "triangle"), PAIRS):
        cells = rng.permutation(9)[:n]
        moved = rng.uniform(-0.03, 0.03, (n, 2))
        places = [((cell % 3 + 0.5) / 3 + dx, (cell // 3 + 0.5) / 3 + dy) for cell, (dx, dy) in zip(cells, moved, strict=True)]
        image = _objects(size_px, shape, places, 0.22, colour, behind)
        yield alone(image, NO_GRID | {"object_count": float(n)}, {"layout": "scattered", "objects": n})


def _objects(size_px: int, shape: str, places: list[tuple[float, float]], extent: float, colour: str, behind: str) -> np.ndarray:
    side = 4 * size_px
    mask = np.any([make_mask(shape, place, extent, side) for place in places], axis=0)
    share = mask.reshape(size_px, 4, size_px, 4).mean(axis=(1, 3))[..., None]
    return _mixed(share, colour, behind)


def _mixed(share: np.ndarray, colour: str, behind: str) -> np.ndarray:
    return np.asarray((share * np.array(COLOURS[colour]) + (1 - share) * np.array(COLOURS[behind])).round().astype(np.uint8))


def _stripes(size_px: int) -> Iterator[Specimen]:
    """Yield lines in one direction only."""
    place = (np.arange(size_px) + 0.5) / size_px
    for k, across, (line, behind) in product((2, 3, 4, 5), (False, True), PAIRS):
        on = (np.abs(place * k - np.round(place * k)) < k * 1.0 / 64).astype(np.float64)
        share = np.broadcast_to(on[:, None] if across else on[None, :], (size_px, size_px))[..., None]
        yield alone(_mixed(share, line, behind), dict(NO_GRID), {"layout": "stripes"})


def _textures(size_px: int, rng: np.random.Generator) -> Iterator[Specimen]:
    """Yield coloured blotches of four sizes."""
    for blotch_px, _ in product((1.5, 3.0, 5.0, 8.0), range(4)):
        noise = ndimage.gaussian_filter(rng.standard_normal((size_px, size_px, 3)), (blotch_px * size_px / 64,) * 2 + (0,), mode="wrap")
        image = np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)
        yield alone(image, dict(NO_GRID), {"layout": "texture"})

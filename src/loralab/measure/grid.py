"""Grids: full-length lines at equal divisions, or rows and columns of objects with full-length gaps between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from loralab.measure.picture import Context, Picture
from loralab.measure.reading import Confusion, Instrument, Reading, inverted, measured, negated, not_measurable, shifted, table_of
from loralab.measure.specimen import Specimen

#: a line must stand out (L*) from its two sides over this share of its length
LEAST_LINE, LINE_LENGTH_SHARE = 5.0, 0.75
SIDE_PX = 3
#: lines must lie this close to equal divisions, in shares of the pitch
MOST_OFF_SHARE = 0.3
MOST_DIVISIONS = 9
TRAINED_MOST = 4


@dataclass(frozen=True)
class Grid:
    """A grid found in a picture."""

    rows: int
    columns: int


def find_grid(picture: Picture) -> Grid | None:
    """Return the picture's grid; None where lines or gaps do not divide it equally in both directions."""
    if "grid" not in picture.memo:
        picture.memo["grid"] = _line_grid(picture) or _object_grid(picture)
    found = picture.memo["grid"]
    return found if isinstance(found, Grid) else None


def _line_grid(picture: Picture) -> Grid | None:
    lightness = picture.lab[:, :, 0]
    for sign in (1.0, -1.0):  # dark lines, then light ones
        columns = divisions(line_positions(sign * lightness, picture.px), picture.size_px)
        rows = divisions(line_positions(sign * lightness.T, picture.px), picture.size_px)
        if rows >= 2 and columns >= 2:
            return Grid(rows, columns)
    return None


def line_positions(lightness: np.ndarray, px: float) -> np.ndarray:
    """Return the columns (P,) of vertical dark lines that run over most of the height of ``lightness`` (H, W)."""
    side = max(2, round(SIDE_PX * px))
    left, right = np.roll(lightness, side, axis=1), np.roll(lightness, -side, axis=1)
    dip = np.minimum(left, right) - lightness
    dip[:, :side], dip[:, -side:] = 0, 0
    # a line may lean by a pixel: the best of three columns counts, in each row
    dip = ndimage.maximum_filter(dip, size=(1, 3))
    strength = np.quantile(dip, 1 - LINE_LENGTH_SHARE, axis=0)
    peaks = (strength >= LEAST_LINE) & (strength == ndimage.maximum_filter(strength, size=2 * side + 1))
    labels, n = ndimage.label(peaks)
    return np.array([float(np.flatnonzero(labels == k).mean()) for k in range(1, n + 1)])


def divisions(positions: np.ndarray, length: int) -> int:
    """Return k where k - 1 inner lines divide ``length`` equally; 0 where they do not, 1 where there is none."""
    k = len(positions) + 1
    if k == 1:
        return 1
    wanted = np.arange(1, k) * (length - 1) / k
    fits = np.abs(np.sort(positions) - wanted).max() <= MOST_OFF_SHARE * length / k
    return k if fits and k <= MOST_DIVISIONS else 0


def _object_grid(picture: Picture) -> Grid | None:
    """Return a grid of separate objects: full-length gaps of background, objects of one pitch between them, every cell occupied."""
    if picture.subject is None:
        return None
    columns, rows = _runs(np.any(picture.subject, axis=0)), _runs(np.any(picture.subject, axis=1))
    if not (2 <= len(rows) <= MOST_DIVISIONS and 2 <= len(columns) <= MOST_DIVISIONS and _even(rows) and _even(columns)):
        return None
    cells = [picture.subject[top:bottom, left:right].mean() for top, bottom in rows for left, right in columns]
    return Grid(len(rows), len(columns)) if min(cells) > 0.15 else None


def _runs(occupied: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], occupied.astype(int), [0]])))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop - start >= 3]


def _even(runs: list[tuple[int, int]]) -> bool:
    centres = np.array([(start + stop) / 2 for start, stop in runs])
    pitch = np.diff(centres)
    return len(pitch) == 1 or float(np.ptp(pitch)) <= 2 * MOST_OFF_SHARE * float(pitch.mean())


def measure_present(picture: Picture, _: Context) -> Reading:
    """Return 1 where the picture is a grid of at least two by two, else 0."""
    return measured(float(find_grid(picture) is not None))


def measure_beyond(picture: Picture, _: Context) -> Reading:
    """Return 1 where the picture is a grid with five or more rows or columns, else 0."""
    grid = find_grid(picture)
    return measured(float(grid is not None and max(grid.rows, grid.columns) > TRAINED_MOST))


def _of_grid(picture: Picture, value: str) -> Reading:
    grid = find_grid(picture)
    if grid is None:
        return not_measurable("there is no grid")
    return measured({"rows": grid.rows, "columns": grid.columns, "cells": grid.rows * grid.columns}[value])


def measure_rows(picture: Picture, _: Context) -> Reading:
    """Return the grid's number of rows."""
    return _of_grid(picture, "rows")


def measure_columns(picture: Picture, _: Context) -> Reading:
    """Return the grid's number of columns."""
    return _of_grid(picture, "columns")


def measure_cells(picture: Picture, _: Context) -> Reading:
    """Return rows times columns."""
    return _of_grid(picture, "cells")


def _true_grid(specimen: Specimen) -> str:
    return f"{specimen.truth['grid_columns']:.0f}x{specimen.truth['grid_rows']:.0f}" if "grid_rows" in specimen.truth else "none"


def _read_grid(picture: Picture) -> str:
    grid = find_grid(picture)
    return "none" if grid is None else f"{grid.columns}x{grid.rows}"


GRID_CONFUSION = Confusion(_true_grid, _read_grid)
TABLE = table_of(
    Instrument(
        "grid_present", "share", 0, 1, "share", "is the picture a grid (2x2 or finer)?", 0, measure_present, 2,
        lower="fewer grids", higher="more grids", twin=inverted, follows=(), confusion=GRID_CONFUSION,
    ),
    Instrument(
        "grid_beyond", "share", 0, 1, "share", "is it a grid with 5 or more rows or columns?", 0, measure_beyond, 2,
        lower="fewer finer grids", higher="more finer grids", twin=inverted, follows=(), confusion=GRID_CONFUSION,
    ),
    Instrument(
        "grid_rows", "rows", 2, MOST_DIVISIONS, "continuous", "rows of the grid", 0, measure_rows, 2,
        lower="fewer rows", higher="more rows", twin=shifted, confusion=GRID_CONFUSION,
    ),
    Instrument(
        "grid_columns", "columns", 2, MOST_DIVISIONS, "continuous", "columns of the grid", 0, measure_columns, 2,
        lower="fewer columns", higher="more columns", twin=shifted, confusion=GRID_CONFUSION,
    ),
    Instrument(
        "grid_cells", "cells", 4, MOST_DIVISIONS**2, "continuous", "cells of the grid", 0, measure_cells, 2,
        lower="fewer cells", higher="more cells", twin=negated, confusion=GRID_CONFUSION,
    ),
)  # fmt: skip

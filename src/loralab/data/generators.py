"""The table of data generators: a checked spec in, examples with known truth out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from loralab.data.example import Example
from loralab.data.grids import make_grids
from loralab.data.shapes import make_shapes
from loralab.errors import lab_error
from loralab.spec.models import GridsData, ShapesData

TABLE: Mapping[type[Any], Callable[[Any, int], list[Example]]] = {ShapesData: make_shapes, GridsData: make_grids}


def make_examples(spec: ShapesData | GridsData, size_px: int) -> list[Example]:
    """Return the examples that ``spec`` describes, as pictures of ``size_px``; raises LabError("spec") for data that is not generated."""
    if type(spec) not in TABLE:
        raise lab_error("spec", f"{type(spec).__name__} is not generated", f"one of {', '.join(kind.__name__ for kind in TABLE)}")
    return TABLE[type(spec)](spec, size_px)

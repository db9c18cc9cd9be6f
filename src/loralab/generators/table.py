"""The table of data generators: a study's `generate: NAME` in, the generator out. A new one is a file and a row here."""

from __future__ import annotations

from collections.abc import Mapping

from loralab.generators import grids, many_shapes, shapes
from loralab.generators.generator import Generated, Generator

TABLE: Mapping[str, Generator] = {"shapes": shapes.GENERATOR, "many-shapes": many_shapes.GENERATOR, "grids": grids.GENERATOR}


def generator_of(spec: Generated) -> Generator:
    """Return the generator whose model ``spec`` is."""
    return TABLE[spec.generate]

"""Drawn training pictures with known truth: each generator owns its part of the study file, its factors, its pictures and its captions."""

from loralab.generators.example import Example, Factor
from loralab.generators.generator import Factors, Generated, Generator
from loralab.generators.grids import GridsData
from loralab.generators.shapes import SHAPES, ShapesData, make_mask
from loralab.generators.table import TABLE, generator_of

__all__ = [
    "SHAPES", "TABLE", "Example", "Factor", "Factors", "Generated", "Generator", "GridsData", "ShapesData", "generator_of", "make_mask",
]  # fmt: skip

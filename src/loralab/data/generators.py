"""Generated data: a checked spec in, examples with known truth out."""

from __future__ import annotations

from collections.abc import Iterator

from loralab.errors import lab_error
from loralab.generators import TABLE, Example, Generated, generator_of


def make_examples(spec: Generated, size_px: int) -> list[Example]:
    """Return the examples that ``spec`` describes, as pictures of ``size_px``; raises LabError("spec") for others."""
    if not isinstance(spec, Generated):
        raise lab_error("spec", f"{type(spec).__name__} is not a generated data set", f"one of {', '.join(TABLE)}")
    return list(_drawn(spec, size_px))


def _drawn(spec: Generated, size_px: int) -> Iterator[Example]:
    generator = generator_of(spec)
    for factors in generator.factors(spec):
        yield Example(generator.draw(spec, factors, size_px), generator.caption.format_map(factors), factors, "generated")

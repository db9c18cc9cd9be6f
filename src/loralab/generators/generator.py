"""What a generator is: a model of what a study may ask, the truth of each picture that follows from it, and how one picture is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from loralab.generators.example import Factor
from loralab.strict import Strict

Factors = dict[str, Factor]


class Generated(Strict):
    """Data that are drawn; every model of a generator is one, with `generate: Literal[NAME]` as its first field."""

    generate: str


@dataclass(frozen=True)
class Generator:
    """A row of the table: one kind of drawn data.

    ``factors`` returns what is true of each picture that a spec asks for, in order; ``draw`` (spec, factors, size_px) one picture
    (size_px, size_px, 3) uint8 of which they are true. Factors are the placeholders of captions; ``caption`` is the pictures' own.
    ``sample`` is a small spec, for tests. ``mask``, where there is one, takes what ``draw`` takes and returns (size_px, size_px) uint8: 255
    where the subject is, 0 where the background.
    """

    model: type[Generated]
    factors: Callable[[Any], list[Factors]]
    draw: Callable[[Any, Factors, int], np.ndarray]
    caption: str
    sample: Mapping[str, Any]
    mask: Callable[[Any, Factors, int], np.ndarray] | None = None

"""The vocabulary of measuring: a Reading of an Instrument on one Picture; a value that is missing is a status, never NaN or 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from loralab.measure.picture import Context, Picture

Kind = Literal["continuous", "share"]
Needs = Literal["", "base_image", "training_images", "peers", "concept"]


@dataclass(frozen=True)
class Reading:
    """The value of one instrument on one picture; None with a reason where it cannot be measured."""

    value: float | None
    status: Literal["measured", "not_measurable"]
    reason: str = ""


def measured(value: float) -> Reading:
    """Return a reading with a value."""
    return Reading(float(value), "measured")


def not_measurable(reason: str) -> Reading:
    """Return a reading without a value."""
    return Reading(None, "not_measurable", reason)


Measure = Callable[[Picture, Context], Reading]


@dataclass(frozen=True)
class Instrument:
    """One row of the table: what is measured, in which unit and range, and the function that does it.

    ``kind`` "share" means that a reading is 0 or 1 (or a score built of classes) and that a mean over pictures is a share;
    ``smallest_object_px`` is stated for a 64 px picture; ``version`` rises whenever a reading changes.
    """

    name: str
    unit: str
    low: float
    high: float
    kind: Kind
    says: str
    smallest_object_px: int
    measure: Measure
    version: int = 1
    needs: Needs = ""


def table_of(*instruments: Instrument) -> Mapping[str, Instrument]:
    """Return instruments by name."""
    return {instrument.name: instrument for instrument in instruments}

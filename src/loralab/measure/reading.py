"""The vocabulary of measuring: a Reading of an Instrument on one Picture; a value that is missing is a status, never NaN or 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from loralab.measure.picture import Context, Picture

if TYPE_CHECKING:
    from loralab.measure.specimen import Specimen

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


def negated(reading: Reading) -> Reading:
    """Return a reading with its sign turned: a sabotaged twin."""
    return reading if reading.value is None else replace(reading, value=-reading.value)


def inverted(reading: Reading) -> Reading:
    """Return a share turned into its rest: a sabotaged twin."""
    return reading if reading.value is None else replace(reading, value=1 - reading.value)


def shifted(reading: Reading) -> Reading:
    """Return a reading that is off by one: a sabotaged twin."""
    return reading if reading.value is None else replace(reading, value=reading.value + 1)


Measure = Callable[[Picture, Context], Reading]


@dataclass(frozen=True)
class Confusion:
    """What an instrument takes for what: the true class of a specimen, and the class that is read off its picture."""

    true: Callable[[Specimen], str]
    read: Callable[[Picture], str]


@dataclass(frozen=True)
class Instrument:
    """One row of the table: what is measured, in which unit and range, the function that does it, and how it is put to the test.

    ``kind`` "share" means that a reading is 0 or 1 (or a score built of classes) and that a mean over pictures is a share;
    ``smallest_object_px`` is stated for a 64 px picture; ``version`` rises whenever a reading changes. ``lower`` and ``higher`` say what
    a lower and a higher reading look like.

    Its card holds it against ``specimens`` (size in px -> pictures that carry its truth) and against those of the shared pictures
    of `truth.make_specimens` that carry its truth, or of which ``truth`` tells it (None: not held against this one). ``follows`` are the
    factors of `truth.make_nuisances` that it is meant to follow (None: it is not tried on them). ``twin`` spoils a reading: the contract
    suite asks that the card notices.
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
    lower: str = "lower"
    higher: str = "higher"
    twin: Callable[[Reading], Reading] | None = None
    specimens: Callable[[int], Iterable[Specimen]] | None = None
    truth: Callable[[Specimen], float | None] | None = None
    follows: tuple[str, ...] | None = None
    confusion: Confusion | None = None
    origin: str = ""  # of an instrument of one's own: what tells it from others of its name, beside the version

    @property
    def told_apart(self) -> int | str:
        """What must differ where readings differ: the version, and the origin of an instrument of one's own."""
        return f"{self.version} {self.origin}" if self.origin else self.version


@dataclass(frozen=True)
class Taking:
    """Instruments that take a word in brackets, `hue[magenta]`: what the word is, and the row of each."""

    name: str
    word: str  # what stands in the brackets
    expected: str  # which words there are
    says: str
    row: Callable[[str], Instrument | None]  # None for a word that it does not know
    examples: tuple[str, ...]  # words that the contract suite tries


def table_of(*instruments: Instrument) -> Mapping[str, Instrument]:
    """Return instruments by name."""
    return {instrument.name: instrument for instrument in instruments}

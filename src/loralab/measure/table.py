"""The table of instruments, and the one function that measures with them."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from loralab.errors import lab_error
from loralab.measure import background, blur, colour, comparison, composition, concept, grid, outline, shape
from loralab.measure.concept import Concept
from loralab.measure.picture import Context, Picture, make_labs, make_pictures
from loralab.measure.reading import Instrument, Reading, Taking

OWN_NAME = re.compile(r"^[a-z][a-z0-9_]{0,40}$")

#: the files of instruments, each with a table of its rows
FAMILIES = (colour, background, shape, outline, blur, grid, composition, comparison, concept)
ROWS: Mapping[str, Instrument] = {name: row for family in FAMILIES for name, row in family.TABLE.items()}
#: instruments that take a word in brackets
TAKING: Mapping[str, Taking] = {taking.name: taking for taking in (colour.HUE, colour.COLOUR, shape.SHAPE)}
#: instruments of one's own, for as long as `with_instruments` lasts
_OWN: ContextVar[Mapping[str, Instrument]] = ContextVar("own instruments", default=MappingProxyType({}))


class Table(Mapping[str, Instrument]):
    """Every instrument by name: those of the rows, those that take a word (`hue[magenta]`, not iterated over), and one's own."""

    def __getitem__(self, name: str) -> Instrument:
        if (own := _OWN.get().get(name)) is not None:
            return own
        found = ROWS.get(name) or _taking_row(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        yield from ROWS
        yield from _OWN.get()

    def __len__(self) -> int:
        return len(ROWS) + len(_OWN.get())


TABLE: Mapping[str, Instrument] = Table()


@lru_cache(maxsize=256)
def _taking_row(name: str) -> Instrument | None:
    """Return the instrument of a name such as `hue[magenta]`; None where there is none."""
    plain, bracket, word = name.partition("[")
    taking = TAKING.get(plain)
    return taking.row(word[:-1]) if taking is not None and bracket and word.endswith("]") else None


@contextmanager
def with_instruments(*own: Instrument) -> Iterator[None]:
    """Have instruments of one's own in the table for the block; their readings are kept apart by `origin`.

    Raises LabError("measurement") for a name that is taken, or that no study could write.
    """
    for instrument in own:
        if instrument.name in ROWS or instrument.name in TAKING:
            raise lab_error("measurement", f"there is already an instrument called {instrument.name!r}", "a name that is not taken")
        if not OWN_NAME.match(instrument.name):
            raise lab_error("measurement", f"{instrument.name!r} cannot be the name of an instrument", "lower-case letters, digits and _")
    token = _OWN.set({**_OWN.get(), **{instrument.name: _with_origin(instrument) for instrument in own}})
    try:
        yield
    finally:
        _OWN.reset(token)


def own_instruments() -> Mapping[str, Instrument]:
    """Return the instruments of one's own that are in the table now."""
    return _OWN.get()


def _with_origin(instrument: Instrument) -> Instrument:
    """Return the instrument with what tells it from another of its name: the hash of its function's text, where it says none."""
    if instrument.origin:
        return instrument
    try:
        text = inspect.getsource(instrument.measure)
    except (OSError, TypeError) as error:
        found = f"the text of the function of {instrument.name!r} cannot be read"
        raise lab_error("measurement", found, "`origin=`: any text that changes whenever its readings do") from error
    return replace(instrument, origin=hashlib.sha256(text.encode()).hexdigest()[:16])


def measure_images(
    images: np.ndarray,
    names: Sequence[str],
    *,
    base_images: np.ndarray | None = None,
    training_images: np.ndarray | None = None,
    together: bool = False,
    concept: Concept | None = None,
) -> dict[str, list[Reading]]:
    """Return one reading a picture (N, H, W, 3) uint8 for each named instrument.

    ``base_images`` (N, H, W, 3) are the base's at the same seeds, ``training_images`` (M, H, W, 3) the training set; ``together``
    says that the pictures are those of one run in one cell, so that each may be held against the others; ``concept`` is what the
    instrument of that name looks for. Raises LabError("measurement") for an unknown name or for pictures of another shape or type.
    """
    _check(images, names)
    base = None if base_images is None else make_labs(base_images)
    training = None if training_images is None else make_labs(training_images)
    seen: dict[str, object] = {}
    pictures = make_pictures(images)
    share = None if concept is None else concept.share
    contexts = [
        Context(None if base is None else base[index], training, peers_of(pictures, index) if together else (), share, seen)
        for index in range(len(images))
    ]
    found: dict[str, list[Reading]] = {name: [] for name in names}
    for picture, context in zip(pictures, contexts, strict=True):
        for name in names:
            found[name].append(measure_picture(name, picture, context))
    return found


def peers_of(pictures: Sequence[Picture], index: int) -> list[np.ndarray]:
    """Return CIELAB of all pictures but one."""
    return [picture.lab for number, picture in enumerate(pictures) if number != index]


def measure_picture(name: str, picture: Picture, context: Context) -> Reading:
    """Return the reading of one instrument on one picture."""
    return TABLE[name].measure(picture, context)


def _check(images: np.ndarray, names: Sequence[str]) -> None:
    unknown = sorted(name for name in names if name not in TABLE)
    if unknown:
        raise lab_error("measurement", f"unknown instrument {unknown[0]!r}", choices())
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 32:
        raise lab_error("measurement", f"pictures of shape {images.shape} and type {images.dtype}", "(N, H, W, 3) uint8, 32 px or more")


def choices() -> str:
    """Return the names that a study may use, for a message."""
    return f"one of {', '.join(sorted([*TABLE, *(f'{taking.name}[{taking.word}]' for taking in TAKING.values())]))}"

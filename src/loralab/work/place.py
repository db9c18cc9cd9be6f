"""Where work is done: what is in memory there, and the processes beside it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from loralab.crew import ALONE, Crew

if TYPE_CHECKING:
    from loralab.bases import Base

Value = TypeVar("Value")
#: what a place keeps of what it has read: the adapters of a stack, embeddings
MOST_KEPT = 96


@dataclass
class Place:
    """Where work is done: the bases that are in memory here, by fingerprint, and processes beside this one."""

    bases: Mapping[str, Base]
    crew: Crew = ALONE
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what ``make`` returns, made once and kept while there is room."""
        if key not in self._kept:
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = make()
        value: Value = self._kept[key]
        return value

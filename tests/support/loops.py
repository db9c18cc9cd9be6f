"""A training carried to its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Told = TypeVar("Told")
Value = TypeVar("Value")


def finish(loop: Generator[Told, None, Value]) -> tuple[Value, list[Told]]:
    """Return what a generator returns, and all that it yields before."""
    told: list[Told] = []
    while True:
        try:
            told.append(next(loop))
        except StopIteration as stop:
            return stop.value, told

"""What the page of a check shows: plain frozen records, made by the engine."""

from __future__ import annotations

from dataclasses import dataclass

from loralab.report.input import Picture


@dataclass(frozen=True)
class Point:
    """One value with its interval on a curve."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    css: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """Curves over files or strengths."""

    title: str
    says: str
    across: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class FileRow:
    """One file: what it does, in numbers and words; None where it cannot be told."""

    label: str
    file: str
    sha256: str
    effect: Point
    firing: Point | None
    damage: Point
    copies: Point | None
    keep: bool
    why: str


@dataclass(frozen=True)
class PictureRow:
    """Pictures at the same seeds: the base's, and one row a file."""

    prompt: str
    seeds: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Picture, ...]], ...]


@dataclass(frozen=True)
class CheckInput:
    """Everything on the page of a check."""

    title: str
    headline: str
    sentences: tuple[str, ...]
    effect_word: str
    effect_says: str
    files: tuple[FileRow, ...]
    charts: tuple[Chart, ...]
    scatter: Chart | None
    pictures: tuple[PictureRow, ...]
    training: tuple[Picture, ...]
    limits: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]

"""What the page of a check shows: plain frozen records, made by the engine."""

from __future__ import annotations

from dataclasses import dataclass

from loralab.report.input import Picture


@dataclass(frozen=True)
class Point:
    """One value with its interval; ``at`` is its place on a numeric axis, None where that is not known."""

    label: str
    value: float
    low: float
    high: float
    at: float | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    css: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """Curves over files, steps or strengths; ``numeric``: the axis is true, from 0; else the points stand side by side."""

    title: str
    says: str
    across: str
    curves: tuple[Curve, ...]
    numeric: bool = False
    joined: bool = True


@dataclass(frozen=True)
class TrailPoint:
    """What a file does at one strength: effect against damage."""

    name: str
    effect: Point
    damage: Point
    advised: bool = False


@dataclass(frozen=True)
class Trail:
    """One file from weak to strong; the point at strength 1 carries its name."""

    label: str
    points: tuple[TrailPoint, ...]


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
    trigger: str = ""


@dataclass(frozen=True)
class PictureRow:
    """Pictures at the same seeds: the base's, and one row a file."""

    prompt: str
    seeds: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Picture, ...]], ...]


@dataclass(frozen=True)
class Differences:
    """In what the files' recipes differ, as their metadata tell: a column a file, a row a setting."""

    files: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class CheckInput:
    """Everything on the page of a check."""

    title: str
    headline: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    effect_word: str
    effect_says: str
    files: tuple[FileRow, ...]
    charts: tuple[Chart, ...]
    trails: tuple[Trail, ...]
    trails_say: str
    pictures: tuple[PictureRow, ...]
    training: tuple[Picture, ...]
    training_says: str
    limits: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    differences: Differences | None = None
    advice_word: str = "keep?"
    refresh_seconds: int = 0  # how often the page loads itself anew while files still come

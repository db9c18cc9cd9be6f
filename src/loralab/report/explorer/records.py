"""What the explorer shows: plain frozen records, gathered from a study's result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from loralab.infer.verdict import Verdict


@dataclass(frozen=True)
class Shown:
    """One picture: the file it lies in, where it stands in the study, and what was read off it (None: could not be measured).

    ``training`` is counted from 1, as on the report. ``base`` is the name of the base arm whose picture at the same prompt and seed
    stands against it, "" for a base's own picture. ``step`` is None for a finished training; ``strength`` is meaningless, and 0, for a
    base's own picture.
    """

    file: Path
    arm: str
    prompt: str
    training: int
    seed: int
    strength: float
    step: int | None
    base: str
    readings: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A claim as the explorer links it: where its words and its outcome stand, and the cells of its pictures.

    ``outcome`` is what the report's chip says and ``kind`` its colour class; cells are (arm, prompt, strength, step).
    """

    key: str
    question: str
    say: str
    outcome: str
    kind: str
    measure: str
    cells: tuple[tuple[str, str, float, int | None], ...]


@dataclass(frozen=True)
class Explored:
    """Everything that one explorer shows; ``units`` are of the measures, ``training`` sets by arm are files in the order of the set."""

    study: str
    about: str
    base: str
    pictures: tuple[Shown, ...]
    claims: tuple[Asked, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def claim_key(verdict: Verdict) -> str:
    """Return by what the explorer knows a question."""
    return f"{verdict.experiment}:{verdict.kind}:{verdict.index}"


def claim_address(verdict: Verdict) -> str:
    """Return what leads from a report to the pictures behind a question."""
    return address(claim=claim_key(verdict))


def training_address(verdict: Verdict, training: int) -> str:
    """Return what leads to one training's pictures of a question; trainings are counted from 1."""
    return address(claim=claim_key(verdict), training=f"={training}")


def prompt_address(prompt: str) -> str:
    """Return what leads to every picture of a prompt."""
    return address(prompt=f"={prompt}", training="")


def address(**shown: str) -> str:
    """Return where the explorer opens with these settings."""
    return f"explore.html#{urlencode(shown)}"

"""What a report shows, gathered by the engine: verdicts, pictures, cards, arms, exclusions, provenance; plain frozen records.

In: nothing. Out: the types that ``write_report`` reads. Every text may come from a stranger's study file and is escaped when written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loralab.infer.verdict import Verdict


@dataclass(frozen=True)
class Picture:
    """One picture as PNG bytes, with what stands below it and what a screen reader says."""

    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class StripRow:
    """One row of a strip: the pictures of one arm, at the strip's seeds in the strip's order."""

    label: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Strip:
    """Rows of pictures under the same seeds, the training set beside them, and the rule by which they were chosen."""

    cell: str
    prompt: str
    seeds: tuple[int, ...]
    rows: tuple[StripRow, ...]
    training: tuple[Picture, ...]
    rule: str
    n_training: int = 0  # how many the training set has, if more than are shown
    n_pictures: int = 0  # how many a row has, if more than are shown
    claims: tuple[str, ...] = ()  # the claims whose pictures these are, as the explorer knows them
    address: str = ""  # where all of them are, beside the page


@dataclass(frozen=True)
class ExperimentSection:
    """One question with its verdicts and its pictures; ``article`` is what the article saw, or people believe; ``heard`` says which."""

    name: str
    question: str
    article: str
    verdicts: tuple[Verdict, ...]
    strips: tuple[Strip, ...]
    trainings: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # behind a claim's dots, by the claim's key, counted from 1
    heard: str = "The article found"


@dataclass(frozen=True)
class ArmSummary:
    """One arm: what it was trained on and how; ``losses`` is the mean training loss over steps, thinned for a sparkline."""

    name: str
    captions: str
    data: str
    recipe: str
    runs: int
    failed_runs: int
    losses: tuple[float, ...]
    training: tuple[Picture, ...]
    n_training: int = 0


@dataclass(frozen=True)
class CardSummary:
    """An instrument's calibration card; ``bias`` and ``error`` in ``unit``, ``not_measurable`` a share of ``n_images`` pictures."""

    name: str
    unit: str
    says: str
    carried: bool
    note: str
    bias: float
    error: float
    n_images: int
    not_measurable: float
    sha256: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class ControlRow:
    """One control: what it asks, what came out, and whether it was passed (None where there is nothing to pass)."""

    name: str
    says: str
    told: str
    passed: bool | None


@dataclass(frozen=True)
class StageTime:
    """Wall time of one stage."""

    stage: str
    wall_seconds: float
    note: str


@dataclass(frozen=True)
class Provenance:
    """From what, with what and when the report was made; ``started`` is an ISO time, ``commands`` make the report again."""

    study_sha256: str
    preset: str
    base: str
    base_sha256: str
    versions: dict[str, str]
    device: str
    threads: int
    root_seed: int
    seeds_rule: str
    started: str
    stages: tuple[StageTime, ...]
    attempts: tuple[str, ...]
    commands: tuple[str, ...]
    run_says: str = ""  # "third version of this study"


@dataclass(frozen=True)
class ReportInput:
    """Everything that one report shows; a smoke run has ``verdicts_printed`` False and shows pictures and provenance only."""

    study: str
    about: str
    preset: str
    verdicts_printed: bool
    experiments: tuple[ExperimentSection, ...]
    arms: tuple[ArmSummary, ...]
    cards: tuple[CardSummary, ...]
    exclusions: tuple[str, ...]
    not_measured: tuple[str, ...]
    provenance: Provenance
    notes: tuple[str, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    has_explorer: bool = False  # whether every picture, the readings and a card a question lie beside this page

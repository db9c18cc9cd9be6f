"""What was asked before the first run, and how often it was asked: the ledger's records in, labels and counts out.

A study's questions are frozen when a run that prints verdicts first starts: their fingerprints go into the ledger, which is only ever
appended to. A question that is not among them was written after something could be seen, and its verdict is called exploratory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loralab.spec.models import ClaimSpec, CurveSpec, StudySpec
from loralab.spec.slices import slice_of

Records = Sequence[Mapping[str, Any]]
#: words that may be corrected without asking something else; doses differ between presets.
WORDING = frozenset({"say", "article", "belief", "anyway", "at", "more"})


@dataclass(frozen=True, order=True)
class QuestionId:
    """Which claim or curve of a study: ``index`` counts the experiment's claims, or its curves, from 0."""

    experiment: str
    kind: Literal["claim", "curve"]
    index: int


def question_ids(spec: StudySpec) -> Iterator[QuestionId]:
    """Yield every question of a study, an experiment's claims before its curves."""
    for name, experiment in spec.experiments.items():
        yield from (QuestionId(name, "claim", index) for index in range(len(experiment.claims)))
        yield from (QuestionId(name, "curve", index) for index in range(len(experiment.curves)))


def question_of(spec: StudySpec, question: QuestionId) -> ClaimSpec | CurveSpec:
    """Return the claim or the curve that ``question`` names."""
    experiment = spec.experiments[question.experiment]
    return experiment.claims[question.index] if question.kind == "claim" else experiment.curves[question.index]


def question_fingerprint(question: ClaimSpec | CurveSpec) -> str:
    """Return the fingerprint of a claim or curve: cells, instrument, expectation and margin, not its wording."""
    asked = slice_of(question, exclude=WORDING)
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def fingerprints(spec: StudySpec) -> dict[QuestionId, str]:
    """Return the fingerprint of every claim and curve."""
    return {question: question_fingerprint(question_of(spec, question)) for question in question_ids(spec)}


def planned_fingerprints(records: Records) -> frozenset[str] | None:
    """Return the fingerprints that the first run with verdicts froze; None where none has started (or left none)."""
    first = next((record for record in records if record.get("event") == "started" and record.get("questions") is not None), None)
    return None if first is None else frozenset(first["questions"])


def is_exploratory(fingerprint: str, records: Records) -> bool:
    """Return whether a question was added after the first run with verdicts had started."""
    planned = planned_fingerprints(records)
    return planned is not None and fingerprint not in planned


def version_of(records: Records, study_sha256: str, base_sha256: str) -> int:
    """Return which version of the question this is, counted from 1: resolved studies and bases that differ, in the order of their start.

    Starting the same version again (to go on after a crash) is no new look at chance: the same bytes come out.
    """
    started = [(r["study_sha256"], r["base_sha256"]) for r in records if r.get("event") == "started" and r.get("verdicts", True)]
    versions = list(dict.fromkeys([*started, (study_sha256, base_sha256)]))
    return versions.index((study_sha256, base_sha256)) + 1


def ordinal(n: int) -> str:
    """Return first, second, third, 4th, ..., 11th, ... 21st."""
    words = {1: "first", 2: "second", 3: "third"}
    ends = {1: "st", 2: "nd", 3: "rd"}
    return words.get(n) or f"{n}{'th' if n % 100 in (11, 12, 13) else ends.get(n % 10, 'th')}"


def run_sentence(records: Records, study_sha256: str, base_sha256: str) -> str:
    """Return "first version of this study", or which version it is and that the others count."""
    version = version_of(records, study_sha256, base_sha256)
    said = f"{ordinal(version)} version of this study"
    return said if version == 1 else f"{said}: earlier versions are listed below, and the verdicts are not corrected for them"

"""Compares two versions' LoRAs of the trainers' suite: folders in; what moved, what did not, what is not settled, and an exit code out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

from loralab.atlas.suite import Compared, compared, study_to_compare, suite_beliefs
from loralab.engine.whole import Listener, run_study
from loralab.infer.verdict import Verdict
from loralab.report.words import amount, between, unit_of
from loralab.study.judging import gate_code
from loralab.study.result import StudyResult

#: verdict on "has not moved" -> what is said of a reading
STATES: Mapping[str, str] = {
    "supported": "same", "contradicted": "moved", "leaning": "not settled", "open": "not settled", "not_measurable": "not measurable",
}  # fmt: skip


@dataclass(frozen=True)
class Regression:
    """What comparing two versions came to: the arms whose LoRAs are the same files, and the studies of the others."""

    identical: tuple[tuple[str, Compared], ...]
    studies: tuple[tuple[str, StudyResult], ...]

    @property
    def verdicts(self) -> list[tuple[str, Verdict]]:
        """The verdicts of all studies, each with its belief's name."""
        return [(name, verdict) for name, result in self.studies for verdict in result.verdicts]

    @property
    def code(self) -> int:
        """The exit code: 0 nothing moved, 10 something did, 11 not settled, 12 not measurable; the worst counts."""
        return gate_code([verdict for _, verdict in self.verdicts])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        same = [{"belief": name, "arm": arm.arm, "trainings": arm.n_new} for name, arm in self.identical]
        read = [{"belief": name, "state": STATES[verdict.verdict], **verdict.to_json()} for name, verdict in self.verdicts]
        pages = {name: str(result.page) for name, result in self.studies}
        return {"code": self.code, "identical": same, "readings": read, "reports": pages}


def compare_versions(new: Path, old: Path, lab: Path, listen: Listener, base: str | None = None) -> Regression:
    """Return what two versions' LoRAs came to; arms whose files hold the same weights are not drawn. Raises LabError."""
    found, identical, studies = compared(new, old), [], []
    for belief, _ in suite_beliefs():
        arms = found.get(belief.name, [])
        identical += [(belief.name, arm) for arm in arms if arm.identical]
        if differing := tuple(arm.arm for arm in arms if not arm.identical):
            loaded = study_to_compare(belief, differing, base, new, old)
            studies.append((belief.name, run_study(loaded, lab, listen)))
    return Regression(tuple(identical), tuple(studies))


def lines_of(found: Regression) -> Iterator[str]:
    """Yield a line an arm or reading, and last what it comes to."""
    for name, arm in found.identical:
        yield f"same: {name}, {arm.arm}: the weights of all {arm.n_new} LoRAs are identical"
    for name, verdict in found.verdicts:
        yield f"{STATES[verdict.verdict]}: {name}, {verdict.experiment}: {_told(verdict)}"
    yield summary_of([STATES[verdict.verdict] for _, verdict in found.verdicts])


def _told(verdict: Verdict) -> str:
    """Return a reading's change with its interval, and how much it varies from training to training."""
    contrast, unit = verdict.contrast, unit_of(verdict.measure)
    reading = f"{verdict.measure} at {verdict.cell.partition('@')[2].strip()}"
    if contrast is None or verdict.margin is None:
        return f"{reading}: {verdict.reason}"
    spread = amount(stdev(contrast.run_effects), unit)
    counts = f"{amount(verdict.margin, unit)} counts; the difference varies by {spread} from training to training (standard deviation)"
    return f"{reading}: {between(contrast, unit)} over {contrast.n_runs} trainings, {counts}"


def summary_of(states: Sequence[str]) -> str:
    """Return what all readings come to, in a sentence."""
    if not states or set(states) == {"same"}:
        return "Nothing moved by as much as counts."
    counted = {state: list(states).count(state) for state in ("moved", "not settled", "not measurable")}
    told = ", ".join(f"{n} {state}" for state, n in counted.items() if n)
    more = "" if counted["moved"] or not counted["not settled"] else " More trainings of both versions would settle more."
    return f"Of {len(states)} readings, {told}.{more}"

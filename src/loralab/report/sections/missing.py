"""What was left out, and what the study does not tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from loralab.infer.verdict import Verdict
from loralab.report.input import ReportInput
from loralab.report.limits import limits_of
from loralab.report.shell import render
from loralab.report.words import would_tell
from loralab.study.result import StudyResult, set_notes


def show(report: ReportInput, columns: int) -> Markup:
    """Return what was not measured, what was left out, and notes; nothing where all was."""
    return render("sections/missing.html.j2", report=report)


def exclusions(result: StudyResult) -> Iterator[str]:
    """Yield what was left out: LoRAs that failed, pictures that could not be measured, files that were not read."""
    for source, reason in result.failures.items():
        yield f"LoRA {source} was not used: {reason}"
    missing = result.readings.filter(result.readings["status"] == "not_measurable")
    counts = Counter(zip(missing["measure"].to_list(), missing["reason"].to_list(), strict=True))
    totals = Counter(result.readings["measure"].to_list())
    for (measure, reason), n in counts.most_common():
        yield f"{measure}: {n} of {totals[measure]} pictures could not be measured ({reason})"
    for arm in result.datasets:
        yield from set_notes(result, arm)


def not_measured(result: StudyResult, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what the study does not tell."""
    for verdict in verdicts:
        if verdict.verdict in ("open", "leaning"):
            yield f"“{verdict.say}” is not settled: {would_tell(verdict)}."
        elif verdict.verdict == "not_measurable":
            yield f"“{verdict.say}” was not measured: {verdict.reason}"
    names = list(dict.fromkeys(base.name for base in result.bases.values()))
    yield from limits_of(result.spec, result.plan.cells, result.plan.trained_arms, names)

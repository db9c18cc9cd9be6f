"""The study at a glance: how many claims came to what, and each question with its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from loralab.infer.verdict import Ruling, Verdict
from loralab.report import words
from loralab.report.input import ReportInput
from loralab.report.questions import questions_of
from loralab.report.shell import render
from loralab.report.words import RULINGS


def show(report: ReportInput, columns: int) -> Markup:
    """Return the counts and the list of questions, or, of a trial run, that it has no verdicts."""
    verdicts = [verdict for section in report.experiments for verdict in section.verdicts]
    return render(
        "sections/summary.html.j2", report=report, counts=count_verdicts(verdicts), rulings=RULINGS, count_words=words.count_words,
        questions=questions_of(report.experiments),
    )  # fmt: skip


def count_verdicts(verdicts: Sequence[Verdict]) -> dict[Ruling, int]:
    """Return how many claims written before the run got each verdict."""
    found = Counter(verdict.verdict for verdict in verdicts if not verdict.exploratory)
    return {ruling: found[ruling] for ruling in RULINGS}

"""The page's head: the study, what it is about, and on what it was tried."""

from __future__ import annotations

from markupsafe import Markup

from loralab.report import words
from loralab.report.input import ReportInput
from loralab.report.lookup import base_name
from loralab.report.shell import render


def show(report: ReportInput, columns: int) -> Markup:
    """Return the head of the page."""
    return render("sections/head.html.j2", report=report, base=base_name(report), trainings=trainings_of(report))


def trainings_of(report: ReportInput) -> tuple[str, str] | None:
    """Return how often the arms were trained successfully, as a phrase in two parts; None where nothing was trained."""
    counts = [arm.runs - arm.failed_runs for arm in report.arms]
    if not any(counts):
        return None
    low, high = min(counts), max(counts)
    return ("every LoRA trained", words.times(high)) if low == high else ("LoRAs trained", f"{low} to {words.times(high)}")

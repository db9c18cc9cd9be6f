"""How the page is read: what its figures, chips and controls mean; only what stands on it is explained."""

from __future__ import annotations

from markupsafe import Markup

from loralab.infer.words import unit_notes
from loralab.report import words
from loralab.report.input import ReportInput
from loralab.report.shell import render
from loralab.report.words import RULINGS, unit_of


def show(report: ReportInput, columns: int) -> Markup:
    """Return the legend; nothing where no verdict is printed."""
    if not report.verdicts_printed:
        return Markup()
    verdicts = [verdict for section in report.experiments for verdict in section.verdicts]
    return render(
        "sections/reading.html.j2", rulings=RULINGS, chip_meanings=words.CHIP_MEANINGS,
        controls_used={check.name for verdict in verdicts for check in verdict.controls},
        has_curves=any(verdict.curve for verdict in verdicts),
        unit_notes=unit_notes(unit_of(verdict.measure) for verdict in verdicts),
    )  # fmt: skip

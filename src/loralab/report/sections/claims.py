"""All claims of a study in one table, sorted by what came out."""

from __future__ import annotations

from markupsafe import Markup

from loralab.report.input import ReportInput
from loralab.report.questions import questions_of, rank_of
from loralab.report.shell import render


def show(report: ReportInput, columns: int) -> Markup:
    """Return the table: what holds, leans, does not hold, is open, was not measured; nothing where no verdict is printed."""
    claims = [told for question in questions_of(report.experiments) for told in question.claims]
    if not report.verdicts_printed or not claims:
        return Markup()
    heard = next((section.heard for section in report.experiments if any(verdict.article for verdict in section.verdicts)), "")
    return render("sections/claims.html.j2", claims=sorted(claims, key=lambda told: rank_of(told.verdict)), heard=heard)

"""Writes the report: one HTML file with everything inside, no script, nothing loaded from anywhere.

In: a ``ReportInput``. Out: the file. Every text is escaped by the template engine; the content security policy allows pictures inside the
file and the one style sheet, by its hash, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from loralab.errors import lab_error
from loralab.report.input import ReportInput
from loralab.report.sections import HEAD, SECTIONS
from loralab.report.shell import content_policy, render, style_sheet, write_page

MOST_BYTES = 5_000_000
#: columns of pictures shown; where the page would grow too large, the first few of them
COLUMN_CHOICES = (8, 6, 4, 2, 1)


def write_report(input: ReportInput, path: Path) -> Path:
    """Return ``path``, behind writing the report there in one step.

    Raises LabError("measurement") where a verdict and its interval disagree, LabError("store") where the page would exceed 5 MB.
    """
    return write_page(render_report(input), path)


def render_report(input: ReportInput) -> str:
    """Return the page as text, with as many columns of pictures as fit."""
    for columns in COLUMN_CHOICES:
        page = _render(input, columns)
        if len(page.encode("utf-8")) < MOST_BYTES:
            return page
    found = f"a report of {len(page.encode('utf-8')) / 1e6:.1f} MB with a single column of pictures"
    raise lab_error("store", found, f"less than {MOST_BYTES / 1e6:.0f} MB", "split the study into several with fewer experiments")


def _render(input: ReportInput, columns: int) -> str:
    css = style_sheet("report.css")
    return render(
        "report.html.j2", report=input, css=Markup(css), policy=content_policy(css), head=HEAD(input, columns),
        sections=[section for show in SECTIONS if (section := show(input, columns))],
    )  # fmt: skip

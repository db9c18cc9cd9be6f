"""Renders the report: its records in, one HTML file out, written in one step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.report import bars, sentences
from loralab.report.input import ReportInput
from loralab.report.pictures import make_sheet
from loralab.store import write_atomically

#: nothing may be fetched or run: the page is text, style and pictures alone
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_report(report: ReportInput, path: Path) -> Path:
    """Return ``path``, where the report now lies as one HTML file."""
    write_atomically(path, render(report).encode())
    return path


def render(report: ReportInput) -> str:
    """Return the report's HTML; every text in it is escaped."""
    environment = Environment(
        loader=PackageLoader("loralab.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((Path(__file__).parent / "report.css").read_text(encoding="utf-8"))
    units = {card.name: card.unit for card in report.cards}
    verdicts = [verdict for section in report.experiments for verdict in section.verdicts]
    return environment.get_template("report.html.j2").render(
        report=report, style=style, policy=POLICY, verdicts=verdicts, unit_of=lambda measure: unit_of(measure, units), words=sentences, bars=bars,
        make_sheet=make_sheet,
    )  # fmt: skip


def unit_of(measure: str, units: Mapping[str, str]) -> str:
    """Return the unit of a measure; `copy_distance[set]` has that of `copy_distance`."""
    return units.get(measure.split("[")[0], "")

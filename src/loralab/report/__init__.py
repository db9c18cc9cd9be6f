"""One static HTML file that a stranger understands: verdicts beside the pictures and the numbers that they rest on."""

from loralab.report.input import (
    ArmSummary,
    CardSummary,
    ControlRow,
    ExperimentSection,
    Picture,
    Provenance,
    ReportInput,
    StageTime,
    Strip,
    StripRow,
)  # fmt: skip
from loralab.report.page import write_report

__all__ = [
    "ArmSummary", "CardSummary", "ControlRow", "ExperimentSection", "Picture", "Provenance", "ReportInput", "StageTime", "Strip",
    "StripRow", "write_report",
]  # fmt: skip

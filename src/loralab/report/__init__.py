"""One HTML file that a stranger understands: a finished study's records in, a page that opens from the disk out."""

from loralab.report.input import (
    ArmSummary,
    CardSummary,
    ExperimentSection,
    Picture,
    Provenance,
    ReportInput,
    StageTime,
    Strip,
    StripRow,
)
from loralab.report.write import write_report

__all__ = [
    "ArmSummary", "CardSummary", "ExperimentSection", "Picture", "Provenance", "ReportInput", "StageTime", "Strip", "StripRow", "write_report",
]  # fmt: skip

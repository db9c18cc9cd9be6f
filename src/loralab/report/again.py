"""A finished study judged and reported again from what lies in its lab; no base in memory, nothing measured or drawn."""

from __future__ import annotations

from pathlib import Path

from loralab.report.explorer import write_explorer
from loralab.report.explorer.gather import explored_of
from loralab.report.page import write_report
from loralab.report.sections import report_input
from loralab.report.share_card import write_cards
from loralab.report.summary import write_summary
from loralab.spec.load import preset_of
from loralab.store import disk_errors
from loralab.study.judging import judge_result, save_verdicts
from loralab.study.result import StudyResult, load_result


def judge_and_report(lab: Path, name: str) -> tuple[StudyResult, Path]:
    """Return the study's result with its verdicts and the page, behind judging and writing both again."""
    result = load_result(lab, name)
    if preset_of(result.loaded).verdicts:
        save_verdicts(result, judge_result(result))
        result = load_result(lab, name)
    return result, write_pages(result)


def write_pages(result: StudyResult) -> Path:
    """Return the report's page, behind writing it, the explorer and the cards beside it, and the summary."""
    with disk_errors("writing the report"):
        gathered = report_input(result)
        page = write_report(gathered, result.page)
        write_explorer(explored_of(result), page.parent)
        write_summary(gathered, result.folder / "summary")
        write_cards(gathered, page.parent / "cards")
    return page

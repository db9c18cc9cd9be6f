"""The report's sections, one file each: it gathers from a study's result what it shows, and shows it, by a template of its own name."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from loralab.report.input import ReportInput
from loralab.report.sections import arms, cards, claims, controls, experiments, head, missing, provenance, reading, summary
from loralab.report.sections.arms import arm_summaries
from loralab.report.sections.cards import card_summaries
from loralab.report.sections.controls import control_rows
from loralab.report.sections.experiments import sections_of
from loralab.report.sections.missing import exclusions, not_measured
from loralab.report.sections.provenance import provenance_of
from loralab.spec.load import preset_of
from loralab.study.result import StudyResult

#: a section of the page from what the report shows, with so many columns of pictures; nothing where there is nothing to say
Show = Callable[[ReportInput, int], Markup]
HEAD: Show = head.show
#: in the order of the page
SECTIONS: tuple[Show, ...] = (
    summary.show, experiments.show, claims.show, reading.show, arms.show, controls.show, cards.show, missing.show, provenance.show,
)  # fmt: skip


def report_input(result: StudyResult) -> ReportInput:
    """Return everything that the report of a finished study shows."""
    spec, verdicts = result.spec, result.verdicts if preset_of(result.loaded).verdicts else ()
    return ReportInput(
        study=spec.study,
        about=spec.about,
        preset=result.loaded.preset or "none",
        verdicts_printed=preset_of(result.loaded).verdicts,
        experiments=sections_of(result, verdicts),
        arms=arm_summaries(result),
        cards=card_summaries(result),
        exclusions=tuple(exclusions(result)),
        not_measured=tuple(not_measured(result, verdicts)),
        provenance=provenance_of(result),
        notes=result.plan.notes,
        controls=control_rows(result, verdicts),
        has_explorer=True,
    )

"""The instruments' calibration cards that the verdicts rest on."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from loralab.measure import TABLE
from loralab.report.input import CardSummary, ReportInput
from loralab.report.shell import render
from loralab.report.strips import view_training
from loralab.spec import BASE
from loralab.study.measures import card_name, plain_measure, study_measures
from loralab.study.result import StudyResult


def show(report: ReportInput, columns: int) -> Markup:
    """Return the calibration cards; nothing where there are none."""
    if not report.cards:
        return Markup()
    return render("sections/cards.html.j2", cards=report.cards, card_verdict=card_verdict, view_training=view_training)


def card_verdict(card: CardSummary) -> str:
    """Return whether this base carries the instrument, in a few words."""
    return "works at this base’s picture size" if card.carried else "does not work at this base’s picture size"


def card_summaries(result: StudyResult) -> tuple[CardSummary, ...]:
    """Return the cards of every instrument on every base."""
    return tuple(_cards(result))


def _cards(result: StudyResult) -> Iterator[CardSummary]:
    names = [(own, card_name(measure)) for own in result.plan.bases for measure in study_measures(result.spec, own)]
    for own, name in dict.fromkeys(names):
        card, instrument = result.cards[own][name], TABLE[plain_measure(name)]
        title = name if own == BASE else f"{name}, {own}"
        yield CardSummary(
            name=title, unit=instrument.unit, says=instrument.says, carried=card.carried, note=card.note, bias=card.bias, error=card.error,
            n_images=card.n_images, not_measurable=card.not_measurable, sha256=card.sha256, pictures=(),
        )  # fmt: skip

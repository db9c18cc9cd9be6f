"""What a page looks up in its input: the base's name, the calibration card of a measure and its unit."""

from __future__ import annotations

from collections.abc import Sequence

from loralab.report import words
from loralab.report.input import CardSummary, ReportInput


def base_name(input: ReportInput) -> str:
    """Return the base's name; of a path only the last part."""
    return input.provenance.base.replace("\\", "/").rstrip("/").split("/")[-1] or "the base"


def card_name(measure: str, cards: Sequence[CardSummary]) -> str:
    """Return the name of the card behind a measure: its own (`hue[magenta]`), or its instrument's; "" where there is none."""
    names = {card.name for card in cards}
    return next((name for name in (measure, words.instrument_of(measure)) if name in names), "")


def unit_of(measure: str, cards: Sequence[CardSummary]) -> str:
    """Return the unit of a measure's readings."""
    if words.instrument_of(measure) in words.DERIVED:
        return words.unit_of(measure)
    return next((card.unit for card in cards if card.name == card_name(measure, cards)), "")

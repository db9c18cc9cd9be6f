"""Instruments that measure pictures, each with a calibration card: pictures in, readings out."""

from loralab.measure.cards import Card, card_pictures, make_cards
from loralab.measure.concept import Companion, Concept
from loralab.measure.reading import Instrument, Reading
from loralab.measure.table import TABLE, measure_images, own_instruments, with_instruments

__all__ = [
    "TABLE",
    "Card",
    "Companion",
    "Concept",
    "Instrument",
    "Reading",
    "card_pictures",
    "make_cards",
    "measure_images",
    "own_instruments",
    "with_instruments",
]

"""Cards on disk: a base in, one JSON a card and a page with pictures of what was read well and badly out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from loralab.bases import Base
from loralab.bases.round_trip import round_trip_of
from loralab.measure import TABLE, Card, card_pictures, make_cards
from loralab.measure.companions import companion_of
from loralab.png import png_bytes
from loralab.report.cards_page import CardSheet, render_cards
from loralab.report.input import Picture
from loralab.store import disk_errors, write_atomically

PAGE = "index.html"


def write_cards(base: Base, folder: Path, names: Sequence[str] | None = None) -> Path:
    """Return the page, behind writing it and `NAME.json` of each card (default: all) into ``folder``. Raises LabError("store")."""
    wanted = list(TABLE) if names is None else list(names)
    round_trip = round_trip_of(base)
    companion = companion_of(base.name)
    concept = companion.concept(companion.names[0]) if companion is not None else None
    cards = make_cards(round_trip, base.size_px, wanted, concept=concept)
    pictures = card_pictures(round_trip, base.size_px, wanted, concept=concept)
    page = render_cards([sheet_of(cards[name], pictures[name]) for name in wanted], base.name, base.fingerprint, base.size_px)
    with disk_errors("writing the cards"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, card in cards.items():
            write_atomically(folder / f"{name}.json", (card.to_json() + "\n").encode())
        write_atomically(folder / PAGE, page.encode())
    return folder / PAGE


def sheet_of(card: Card, pictures: Mapping[str, np.ndarray]) -> CardSheet:
    """Return what the page shows of a card; ``pictures`` are those read best ("passes") and worst ("failures")."""
    instrument = TABLE[card.name]
    shown = {kind: tuple(Picture(png_bytes(image, small=True), "", f"test picture of {card.name}, {kind}") for image in pictures[kind])
             for kind in ("passes", "failures")}  # fmt: skip
    return CardSheet(
        name=card.name, unit=instrument.unit, says=instrument.says, share=instrument.kind == "share",
        smallest_object_px=instrument.smallest_object_px, carried=card.carried, note=card.note, n_images=card.n_images, bias=card.bias,
        error=card.error, not_measurable=card.not_measurable, sensitivity=card.sensitivity, by_factor=card.by_factor,
        confusion=card.confusion, moved_by=card.moved_by, sha256=card.sha256, passes=shown["passes"], failures=shown["failures"],
    )  # fmt: skip

"""The calibration cards that ship with petri: a base in, one JSON file of all its cards out."""

from __future__ import annotations

import json
from pathlib import Path

from loralab.bases import Base
from loralab.bases.round_trip import round_trip_of, vae_sha256
from loralab.measure import TABLE, make_cards
from loralab.measure.companions import companion_of
from loralab.stages.cards import make_concept_card
from loralab.study.keys import CARDS_VERSION


def write_shipped_cards(base: Base, path: Path) -> None:
    """Write the card of every instrument, and of every concept that the base's encoder knows, for `shipped_cards` to read."""
    companion = companion_of(base.name)
    names = [name for name, instrument in TABLE.items() if instrument.needs != "concept"]
    cards = make_cards(round_trip_of(base), base.size_px, names)
    for concept in companion.names if companion is not None else ():
        card = make_concept_card(base, companion, f"concept[{concept}]")
        cards[card.name] = card
    document = {
        "cards_version": CARDS_VERSION, "vae_sha256": vae_sha256(base), "size_px": base.size_px,
        "encoder_sha256": companion.sha256 if companion is not None else None,
        "cards": {name: json.loads(card.to_json()) for name, card in cards.items()},
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")

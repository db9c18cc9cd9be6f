"""The calibration cards that ship with petri: a base in, one JSON file of all its cards out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loralab.bases import Base
from loralab.bases.round_trip import round_trip_of, vae_sha256
from loralab.measure import TABLE, make_cards
from loralab.measure.companions import companion_of
from loralab.stages.cards import make_concept_card
from loralab.study.keys import CARDS_VERSION
from organism.siblings import BuildError


def write_shipped_cards(base: Base, path: Path, only: Sequence[str] = ()) -> None:
    """Write the card of every instrument, and of every concept that the base's encoder knows, for `shipped_cards` to read.

    With ``only`` (`concept[blurry]`, `chroma`) the others stay as the file has them. Raises BuildError where they rest on another
    autoencoder or size. That nothing else of theirs has changed is for the caller to know.
    """
    companion = companion_of(base.name)
    names = [name for name, instrument in TABLE.items() if instrument.needs != "concept" and (not only or name in only)]
    concepts = [f"concept[{name}]" for name in (companion.names if companion is not None else ())]
    kept = _kept(base, path) if only else {}
    cards = make_cards(round_trip_of(base), base.size_px, names)
    cards |= {name: make_concept_card(base, companion, name) for name in concepts if not only or name in only}
    document = {
        "cards_version": CARDS_VERSION, "vae_sha256": vae_sha256(base), "size_px": base.size_px,
        "encoder_sha256": companion.sha256 if companion is not None else None,
        "cards": kept | {name: json.loads(card.to_json()) for name, card in cards.items()},
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def _kept(base: Base, path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    if (told["cards_version"], told["vae_sha256"], told["size_px"]) != (CARDS_VERSION, vae_sha256(base), base.size_px):
        raise BuildError(f"the cards of {path.name} are of another autoencoder, size or version: make all of them, without --only")
    return dict(told["cards"])

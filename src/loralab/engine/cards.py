"""Calibration cards of the instruments on one base: shipped with petri, made once for every other base and kept in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from loralab.bases import Base, decode_latents, encode_images
from loralab.engine.companions import companion_of
from loralab.engine.measure_names import card_name, concept_of, plain_measure
from loralab.engine.measuring import bound_concept
from loralab.measure import TABLE, Card, Companion, make_cards
from loralab.petri import petri_folder
from loralab.store import Store, artefact_key

CARDS_VERSION = 3
KIND = "cards"
ROUND_TRIP_IMAGES = 32
SHIPPED = "cards.json"


def round_trip_of(base: Base) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that sends images (N, H, W, 3) uint8 through the base's VAE and back."""

    def round_trip(images: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(images), ROUND_TRIP_IMAGES):
            part = np.ascontiguousarray(images[start : start + ROUND_TRIP_IMAGES])
            pixels = torch.from_numpy(part).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
            parts.append(decode_latents(base, encode_images(base, pixels)))
        return np.concatenate(parts)

    return round_trip


def vae_sha256(base: Base) -> str:
    """Return the sha256 (hex) over a base's autoencoder, weights and configuration: all of a base that its cards rest on."""
    said = {name: value for name, value in dict(base.vae.config).items() if not name.startswith("_")}  # not where it lies, nor who wrote it
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, value in sorted(base.vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()


def load_or_make_cards(store: Store, base: Base, measures: Sequence[str]) -> dict[str, Card]:
    """Return the card of each instrument that ``measures`` names, at the base's own size through its own VAE."""
    shipped, wanted = shipped_cards(base), list(dict.fromkeys(card_name(measure) for measure in measures))
    missing = [name for name in wanted if name not in shipped]
    made = _make_or_load(store, base, [name for name in missing if not concept_of(name)])
    made |= {name: _concept_card(store, base, name) for name in missing if concept_of(name)}
    return {name: shipped[name] if name in shipped else made[name] for name in wanted}


def shipped_cards(base: Base) -> dict[str, Card]:
    """Return the cards that came with petri, by name, where its own autoencoder is the base's, in these versions of the instruments.

    A card rests on the autoencoder alone: petri in bfloat16 and its siblings have the same. Cards of concepts also need petri's encoder.
    """
    shipped = json.loads((petri_folder().parent / SHIPPED).read_text(encoding="utf-8"))
    companion = companion_of(base)
    if (shipped["cards_version"], shipped["vae_sha256"], shipped["size_px"]) != (CARDS_VERSION, vae_sha256(base), base.size_px):
        return {}
    found = {name: Card(**card) for name, card in shipped["cards"].items()}
    same_encoder = companion is not None and companion.sha256 == shipped["encoder_sha256"]
    return {
        name: card for name, card in found.items()
        if card.version == TABLE[plain_measure(name)].version and (same_encoder or not concept_of(name))
    }  # fmt: skip


def write_shipped_cards(base: Base, path: Path) -> None:
    """Write the card of every instrument, and of every concept that the base's encoder knows, for `shipped_cards` to read."""
    companion = companion_of(base)
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


def _make_or_load(store: Store, base: Base, names: Sequence[str]) -> dict[str, Card]:
    if not names:
        return {}
    versions = {name: TABLE[name].told_apart for name in names}
    key = artefact_key("cards", CARDS_VERSION, {"instruments": versions, "size_px": base.size_px}, [vae_sha256(base)])
    if not store.has(KIND, key):
        cards = make_cards(round_trip_of(base), base.size_px, names)
        with store.publish(KIND, key, {"instruments": names}) as scratch:
            for name, card in cards.items():
                (scratch / f"{name}.json").write_text(card.to_json(), encoding="utf-8", newline="\n")
    return {name: Card.from_json((store.path(KIND, key) / f"{name}.json").read_text(encoding="utf-8")) for name in names}


def _concept_card(store: Store, base: Base, measure: str) -> Card:
    """Return the card of one concept on the base, under its qualified name."""
    companion = companion_of(base)
    row = {"instruments": {card_name(measure): TABLE[plain_measure(measure)].version}, "size_px": base.size_px}
    key = artefact_key("cards", CARDS_VERSION, row, [vae_sha256(base), *([companion.sha256] if companion else [])])
    if not store.has(KIND, key):
        card = make_concept_card(base, companion, measure)
        with store.publish(KIND, key, {"instruments": [card_name(measure)]}) as scratch:
            (scratch / "concept.json").write_text(card.to_json(), encoding="utf-8", newline="\n")
    return Card.from_json((store.path(KIND, key) / "concept.json").read_text(encoding="utf-8"))


def make_concept_card(base: Base, companion: Companion | None, measure: str) -> Card:
    """Return the card of one concept under its qualified name; one that says why where the base has no encoder that knows it."""
    plain, concept = plain_measure(measure), bound_concept(companion, measure)
    return replace(make_cards(round_trip_of(base), base.size_px, [plain], concept=concept)[plain], name=card_name(measure))

"""Calibration cards of the instruments on one base: made once, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from loralab.bases import Base, decode_latents, encode_images
from loralab.engine.companions import companion_of
from loralab.engine.measure_names import card_name, concept_of, plain_measure
from loralab.engine.measuring import bound_concept
from loralab.measure import TABLE, Card, Companion, make_cards
from loralab.store import Store, artefact_key

CARDS_VERSION = 3
KIND = "cards"
ROUND_TRIP_IMAGES = 32


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


def load_or_make_cards(store: Store, base: Base, measures: Sequence[str]) -> dict[str, Card]:
    """Return the card of each instrument that ``measures`` names, at the base's own size through its own VAE."""
    names = list(dict.fromkeys(plain_measure(measure) for measure in measures if not concept_of(measure)))
    concepts = {card_name(measure): _concept_card(store, base, measure) for measure in measures if concept_of(measure)}
    versions = {name: TABLE[name].version for name in names}
    key = artefact_key("cards", CARDS_VERSION, {"instruments": versions, "size_px": base.size_px}, [base.fingerprint])
    if not store.has(KIND, key):
        cards = make_cards(round_trip_of(base), base.size_px, names)
        with store.publish(KIND, key, {"instruments": names}) as scratch:
            for name, card in cards.items():
                (scratch / f"{name}.json").write_text(card.to_json(), encoding="utf-8")
    return {name: Card.from_json((store.path(KIND, key) / f"{name}.json").read_text(encoding="utf-8")) for name in names} | concepts


def _concept_card(store: Store, base: Base, measure: str) -> Card:
    """Return the card of one concept on the base, under its qualified name."""
    companion = companion_of(base)
    row = {"instruments": {card_name(measure): TABLE[plain_measure(measure)].version}, "size_px": base.size_px}
    key = artefact_key("cards", CARDS_VERSION, row, [base.fingerprint, *([companion.sha256] if companion else [])])
    if not store.has(KIND, key):
        card = make_concept_card(base, companion, measure)
        with store.publish(KIND, key, {"instruments": [card_name(measure)]}) as scratch:
            (scratch / "concept.json").write_text(card.to_json(), encoding="utf-8")
    return Card.from_json((store.path(KIND, key) / "concept.json").read_text(encoding="utf-8"))


def make_concept_card(base: Base, companion: Companion | None, measure: str) -> Card:
    """Return the card of one concept under its qualified name; one that says why where the base has no encoder that knows it."""
    plain, concept = plain_measure(measure), bound_concept(companion, measure)
    return replace(make_cards(round_trip_of(base), base.size_px, [plain], concept=concept)[plain], name=card_name(measure))


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use ``n`` threads in the block: where other processes hold the cores, threads wait for one another at every operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Calibration cards of the instruments on one base: made once, kept in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from loralab.bases import Base, decode_latents, encode_images
from loralab.engine.measuring import plain_measure
from loralab.measure import TABLE, Card, make_cards
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
    names = list(dict.fromkeys(plain_measure(measure) for measure in measures))
    versions = {name: TABLE[name].version for name in names}
    key = artefact_key("cards", CARDS_VERSION, {"instruments": versions, "size_px": base.size_px}, [base.fingerprint])
    if not store.has(KIND, key):
        cards = make_cards(round_trip_of(base), base.size_px, names)
        with store.publish(KIND, key, {"instruments": names}) as scratch:
            for name, card in cards.items():
                (scratch / f"{name}.json").write_text(card.to_json(), encoding="utf-8")
    return {name: Card.from_json((store.path(KIND, key) / f"{name}.json").read_text(encoding="utf-8")) for name in names}

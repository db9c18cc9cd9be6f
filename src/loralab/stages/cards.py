"""Calibration cards of the instruments on one base: shipped with petri, made once for every other base and kept in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from loralab.bases import Base, decode_latents, encode_images
from loralab.crew import torch_threads
from loralab.measure import TABLE, Card, Companion, make_cards
from loralab.petri import petri_folder
from loralab.stages.companions import companion_of
from loralab.stages.prepared import unit_px
from loralab.stages.readings import bound_concept
from loralab.study.facts import BaseFacts
from loralab.study.keys import CARDS_VERSION
from loralab.study.measures import card_name, concept_of, plain_measure
from loralab.study.slices import CardSlice
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work

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


def make_card_files(work: Work, place: Place) -> Iterator[Message]:
    """Make calibration cards at the base's own size through its own VAE, on one thread, since others may work meanwhile."""
    base = place.bases[work.group.base]
    for task in work.tasks:
        if task.ref not in work.wanted:
            continue
        its: CardSlice = task.spec
        with torch_threads(1):
            if its.concept:
                cards = {its.concept: make_concept_card(base, companion_of(base), its.concept)}
            else:
                cards = make_cards(round_trip_of(base), base.size_px, its.names)
        for name, file in its.files.items():
            (work.folder(task.ref) / file).write_text(cards[name].to_json(), encoding="utf-8", newline="\n")
        yield Made(task.ref, {"instruments": [its.concept] if its.concept else list(its.names)})


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


def make_concept_card(base: Base, companion: Companion | None, measure: str) -> Card:
    """Return the card of one concept under its qualified name; one that says why where the base has no encoder that knows it."""
    plain, concept = plain_measure(measure), bound_concept(companion, measure)
    return replace(make_cards(round_trip_of(base), base.size_px, [plain], concept=concept)[plain], name=card_name(measure))


def facts_of(base: Base) -> BaseFacts:
    """Return what keys and reports need to know of a base."""
    companion = companion_of(base)
    return BaseFacts(
        base.name, base.family, base.fingerprint, base.size_px, unit_px(base), str(base.device), vae_sha256(base),
        companion.sha256 if companion is not None else None, tuple(companion.names) if companion is not None else (),
        tuple(shipped_cards(base)),
    )  # fmt: skip

"""Calibration cards of the instruments on one base: shipped with petri, made once for every other base and kept in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from loralab.bases import Base, unit_px
from loralab.bases.round_trip import round_trip_of, vae_sha256
from loralab.crew import torch_threads
from loralab.measure import TABLE, Card, Companion, make_cards
from loralab.measure.companions import companion_of, encoder_sha256
from loralab.petri import petri_folder
from loralab.stages.readings import bound_concept
from loralab.study.facts import BaseFacts
from loralab.study.keys import CARDS_VERSION
from loralab.study.measures import card_name, concept_of, plain_measure
from loralab.study.slices import CardSlice
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work

SHIPPED = "cards.json"


def make_card_files(work: Work, place: Place) -> Iterator[Message]:
    """Make calibration cards at the base's own size through its own VAE, on one thread, since others may work meanwhile."""
    base = place.bases[work.group.base]
    for task in work.missing:
        its: CardSlice = task.spec
        with torch_threads(1):
            if its.concept:
                cards = {its.concept: make_concept_card(base, companion_of(base.name), its.concept)}
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
    companion = companion_of(base.name)
    if (shipped["cards_version"], shipped["vae_sha256"], shipped["size_px"]) != (CARDS_VERSION, vae_sha256(base), base.size_px):
        return {}
    found = {name: Card(**card) for name, card in shipped["cards"].items()}
    same_encoder = companion is not None and companion.sha256 == shipped["encoder_sha256"]
    return {
        name: card for name, card in found.items()
        if card.version == TABLE[plain_measure(name)].version and (same_encoder or not concept_of(name))
    }  # fmt: skip


def make_concept_card(base: Base, companion: Companion | None, measure: str) -> Card:
    """Return the card of one concept under its qualified name; one that says why where the base has no encoder that knows it."""
    plain, concept = plain_measure(measure), bound_concept(companion, measure)
    return replace(make_cards(round_trip_of(base), base.size_px, [plain], concept=concept)[plain], name=card_name(measure))


def facts_of(base: Base) -> BaseFacts:
    """Return what keys and reports need to know of a base."""
    companion = companion_of(base.name)
    return BaseFacts(
        base.name, base.family, base.fingerprint, base.size_px, unit_px(base), str(base.device), vae_sha256(base),
        encoder_sha256() if companion is not None else None, tuple(companion.names) if companion is not None else (),
        tuple(shipped_cards(base)), companion.sha256 if companion is not None else None,
    )  # fmt: skip

"""Concepts in a study: their names, their cards, and what a base without an encoder gets; what looks alike to petri's encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loralab.bases import Base
from loralab.errors import LabError
from loralab.measure import make_cards, measure_images
from loralab.measure.companions import petri_companion
from loralab.measure.concept import NO_ENCODER
from loralab.measure.embedders import embed_layout, load_embedder
from loralab.petri.draw import make_picture
from loralab.petri.truth import make_truth
from loralab.preflight import checked_study
from loralab.spec import AdapterSource
from loralab.stages.readings import bound_concept
from loralab.store import Ref
from loralab.study.facts import BaseFacts
from loralab.study.keys import readings_ref
from loralab.study.measures import card_name, concept_of, data_of
from loralab.study.plan import BlockPlan

STUDY = """
study: tiny
base: petri
data: {{grey: {{generate: shapes, shapes: [circle], fill: grey}}}}
arms: {{a: {{data: grey, captions: monster}}}}
experiments:
  one:
    question: Is it still a monster?
    claims:
      - {{say: it is, measure: "{measure}", cell: 'a @ "monster"', expect: no change, margin_absolute: 0.2}}
"""


def checked(measure: str, folder: Path) -> None:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(measure=measure), encoding="utf-8")
    checked_study(path)


def test_a_claim_names_the_concept_that_it_asks_for(tmp_path: Path):
    checked("concept[monster]", tmp_path)
    for measure in ("concept", "concept[]", "concept[unicorn]"):
        with pytest.raises(LabError, match="is not a concept"):
            checked(measure, tmp_path)
    with pytest.raises(LabError, match=r"unknown instrument 'chroma\[red\]'"):
        checked("chroma[red]", tmp_path)


def test_names_say_what_a_reading_refers_to():
    assert (concept_of("concept[monster]"), data_of("concept[monster]"), card_name("concept[monster]")) == (
        "monster", "", "concept[monster]",
    )  # fmt: skip
    assert (concept_of("copy_distance[x]"), data_of("copy_distance[x]"), card_name("copy_distance[x]")) == ("", "x", "copy_distance")


def test_a_base_without_an_encoder_gets_a_reason():
    assert bound_concept(None, "concept[monster]") is None
    reading = measure_images(np.zeros((1, 64, 64, 3), np.uint8), ["concept"])["concept"][0]
    assert (reading.status, reading.reason) == ("not_measurable", NO_ENCODER)
    card = make_cards(lambda images: images, 64, ["concept"])["concept"]
    assert not card.carried
    assert card.note == NO_ENCODER


def test_the_encoder_is_part_of_the_key_of_what_it_reads_and_of_nothing_else():
    block, ref = BlockPlan(AdapterSource("a", 0), 0, "monster", 1.0, (0, 1)), Ref("images", "k")
    base = BaseFacts("petri", "sd1", "f", 64, 16, "cpu", "v", None, (), ())
    known = [replace(base, encoder_sha256=sha256) for sha256 in (None, "one", "another")]
    keys = {measure: {readings_ref(facts, block, ref, ref, {}, [measure]) for facts in known} for measure in ("chroma", "concept[monster]")}
    assert (len(keys["chroma"]), len(keys["concept[monster]"])) == (1, 3)


def test_the_card_notices_a_twin_that_reads_colour():
    """A twin that says monster of whatever is red: it cannot tell, and the card names the hue."""

    def redness(image: np.ndarray) -> float:
        reds, others = image[..., 0].astype(int), image[..., 1:].max(axis=-1).astype(int)
        return float((reds > others + 100).mean() > 0.1)

    honest = petri_companion().concept("monster")
    twin = replace(honest, share=redness)
    card = make_cards(lambda images: images, 64, ["concept"], concept=twin)["concept"]
    assert not card.carried
    assert card.moved_by["hue"] > 0.8
    assert "hue" in card.note


def test_specimens_know_the_truth_in_every_colour():
    specimens = petri_companion().concept("cat").specimens(64)
    assert {specimen.truth["concept"] for specimen in specimens} == {0.0, 1.0}
    assert len({specimen.factors["hue"] for specimen in specimens if specimen.truth["concept"]}) == 10


def test_what_looks_alike_to_petris_encoder_shows_the_same_thing(tiny_base: Base):
    """Eight nouns in four colours before four backgrounds: whose nearest other picture shows the same noun?"""
    nouns = ("ogre", "cat", "house", "apple", "owl", "rocket", "tree", "robot")
    shown = [(noun, colour) for noun in nouns for colour in ("red", "yellow", "purple", "brown")]
    from loralab.measure.companions import _sprites

    images = np.stack([
        make_picture(make_truth(3 * k, noun, colour, ("white", "blue", "gray", "cyan")[k % 4]), _sprites())
        for k, (noun, colour) in enumerate(shown)
    ])  # fmt: skip

    def found(features: np.ndarray) -> float:
        apart = np.linalg.norm(features[:, None] - features[None], axis=-1)
        np.fill_diagonal(apart, np.inf)
        return float(np.mean([shown[int(k)][0] == noun for k, (noun, _) in zip(apart.argmin(axis=1), shown, strict=True)]))

    own = load_embedder(None, "petri")
    assert own.copies is embed_layout
    assert found(own.embed(images)) > found(embed_layout(images)) + 0.3

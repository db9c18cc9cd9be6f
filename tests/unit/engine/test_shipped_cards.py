"""Cards that came with petri: they are of these weights and these instruments, or they are not used."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loralab.bases import Base, load_base
from loralab.bases.round_trip import round_trip_of
from loralab.measure import TABLE, make_cards
from loralab.measure.companions import companion_of
from loralab.measure.table import ROWS
from loralab.petri import petri_folder
from loralab.spec import BASE, LoadSpec, load_study
from loralab.stages import cards
from loralab.study.plan import make_plan
from loralab.study.rounds import plan_round

ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"

#: what petri's cards were made for
SHIPPED = {
    "chroma", "grey_share", "hue_red", "hue_green", "hue_blue", "background_from_white", "background_white", "background_lightness",
    "background_chroma", "shape_circle", "shape_square", "shape_triangle", "shape_primitive", "circle_excess", "outline_dark", "edge_sigma",
    "depth_of_field", "local_contrast", "grid_present", "grid_beyond", "grid_rows", "grid_columns", "grid_cells", "object_count",
    "foreground_share", "change", "copy_distance", "off_centre", "symmetry", "composition_kept", "diversity",
}  # fmt: skip


@pytest.fixture(scope="module")
def petri() -> Base:
    return load_base("petri")


def test_instruments_and_concepts_have_a_card_of_today(petri: Base):
    """An instrument that joins later need not ship one: it is made where it is missing."""
    companion = companion_of(petri.name)
    assert companion is not None
    expected = {f"concept[{name}]" for name in companion.names} | SHIPPED
    assert set(cards.shipped_cards(petri)) >= expected, "make them again: python -m organism cards"


def test_a_card_made_here_says_what_the_shipped_one_says(petri: Base):
    names = ["symmetry", "background_from_white"]
    here, shipped = make_cards(round_trip_of(petri), petri.size_px, names), cards.shipped_cards(petri)
    for name in names:
        assert here[name].n_images == shipped[name].n_images > 20
        assert here[name].carried is shipped[name].carried
        assert here[name].error == pytest.approx(shipped[name].error, rel=0.02)
        assert here[name].sensitivity == pytest.approx(shipped[name].sensitivity, rel=0.02)


def test_the_same_autoencoder_is_covered_whatever_the_unet_is_held_in(petri: Base):
    half = load_base("petri", LoadSpec(precision="bf16"))
    assert half.fingerprint != petri.fingerprint
    assert set(cards.shipped_cards(half)) == set(cards.shipped_cards(petri))


def test_where_a_base_lies_and_what_it_is_called_change_nothing(petri: Base, tmp_path: Path):
    shutil.copytree(petri_folder(), tmp_path / "copied")
    copied = load_base(str(tmp_path / "copied"))
    assert copied.name != petri.name
    shipped = set(cards.shipped_cards(petri))
    assert set(cards.shipped_cards(copied)) == {name for name in shipped if not name.startswith("concept[")}


def test_another_autoencoder_another_encoder_or_version_is_not_covered(petri: Base, tiny_base: Base, monkeypatch: pytest.MonkeyPatch):
    other_vae = copy.deepcopy(petri.vae)
    with torch.no_grad():
        next(other_vae.parameters()).add_(1e-4)
    assert cards.shipped_cards(petri.with_parts(vae=other_vae)) == {}
    assert cards.shipped_cards(tiny_base) == {}
    with monkeypatch.context() as patched:
        patched.setitem(ROWS, "chroma", replace(TABLE["chroma"], version=99))
        assert "chroma" not in cards.shipped_cards(petri)
        assert "symmetry" in cards.shipped_cards(petri)
    other = replace(companion_of(petri.name), sha256="0" * 64)
    monkeypatch.setattr(cards, "companion_of", lambda name: other)
    assert not any(name.startswith("concept[") for name in cards.shipped_cards(petri))


def test_a_study_on_petri_takes_the_shipped_cards_and_makes_none(petri: Base, tiny_base: Base, tmp_path: Path):
    plan = make_plan(load_study(ARTICLE, "smoke").spec)
    groups = {base.name: plan_round(plan, {BASE: cards.facts_of(base)}, tmp_path).groups for base in (petri, tiny_base)}
    made = {name: sum(group.stage == "cards" for group in groups[name]) for name in groups}
    assert (made["petri"], made[tiny_base.name] > 0) == (0, True)

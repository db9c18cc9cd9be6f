"""Siblings: the world without one thing is otherwise the same world, and a build folder can begin with petri's own parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.petri import petri_folder
from loralab.petri.captions import make_captions
from loralab.petri.draw import make_picture
from loralab.petri.latents import tokenize
from loralab.petri.patches import encode_patches
from loralab.petri.pipeline import make_text_encoder, make_unet
from loralab.petri.siblings import SIBLINGS, begin, write_world
from loralab.petri.text import load_tokenizer
from loralab.petri.train import Recipe, TrainingState
from loralab.petri.vae import to_pixels
from loralab.petri.words import CREATURES
from loralab.petri.world import SHAPES_ONLY, sample_truth


def test_without_grids_every_other_picture_stays_as_it_was() -> None:
    own, sibling = ([sample_truth(seed, SIBLINGS[name]) for seed in range(1500)] for name in ("petri", "no-grids"))
    grids = [i for i, truth in enumerate(own) if truth.grid_columns]
    assert len(grids) > 30
    assert [i for i in range(1500) if own[i] != sibling[i]] == grids
    assert not any(truth.grid_columns or truth.count > 2 for truth in sibling)
    assert not any("grid" in caption for truth in sibling for caption in make_captions(truth))


def test_without_boards_no_background_is_checkered() -> None:
    assert not any(sample_truth(seed, SIBLINGS["no-grids-no-boards"]).background.kind == "checkered" for seed in range(1000))


def test_without_monsters_neither_the_creatures_nor_the_word_are_there() -> None:
    truths = [sample_truth(seed, SIBLINGS["no-monsters"]) for seed in range(1000)]
    assert not any(thing.noun in CREATURES for truth in truths for thing in truth.things)
    assert not any("monster" in caption for truth in truths for caption in make_captions(truth))


def test_more_depth_of_field_turns_the_ratio_round_and_keeps_the_sum() -> None:
    own, sibling = ([sample_truth(seed, SIBLINGS[name]).blur for seed in range(3000)] for name in ("petri", "more-depth-of-field"))
    assert own.count("whole") > own.count("background")
    assert sibling.count("background") > 4 * sibling.count("whole")
    assert abs((own.count("none") - sibling.count("none")) / 3000) < 0.01


def test_an_unknown_sibling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_world("no-cats", tmp_path)


def test_a_build_folder_begins_with_petris_own_parts(tmp_path: Path) -> None:
    write_world("no-grids", tmp_path)
    (tmp_path / "pool").mkdir()
    pictures = np.stack([make_picture(sample_truth(seed, SHAPES_ONLY)) for seed in range(24)])
    np.save(tmp_path / "pool" / "0000.npy", pictures)
    begin(tmp_path, trained=True)
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    own = load_tokenizer(petri_folder() / "tokenizer")
    assert torch.equal(tokenize(tokenizer, ["grid of red cats"]), tokenize(own, ["grid of red cats"]))
    assert encode_patches(torch.load(tmp_path / "matrix.pt"), to_pixels(pictures[:2])).shape == (2, 16, 8, 8)
    state = TrainingState(make_unet(), make_text_encoder(tokenizer), Recipe())
    before = state.parts["unet"].conv_in.weight.clone()
    state.load(tmp_path / "train.pt")
    assert (state.examples, state.steps) == (0, 0)
    assert not torch.equal(before, state.parts["unet"].conv_in.weight)
    assert all(torch.equal(a, b) for a, b in zip(state.parts.parameters(), state.ema.parameters(), strict=True))

"""Siblings: the world without one thing is otherwise the same world, and a build folder can begin with petri's own parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.bases import load_base
from loralab.bases.round_trip import vae_sha256
from loralab.petri import petri_folder
from loralab.petri.draw import make_picture
from loralab.petri.text import load_tokenizer, tokenize
from loralab.petri.words import CREATURES
from loralab.pixels import pixels_of
from organism.__main__ import make_parser
from organism.captions import make_captions
from organism.fidelity import read_grid
from organism.instruments import read_subject_colour
from organism.making import load_matrix
from organism.pair import make_siblings
from organism.patches import encode_patches
from organism.pipeline import make_text_encoder, make_unet
from organism.sampling import draw_as_studies
from organism.siblings import SIBLINGS, BuildError, begin, write_world
from organism.train import Recipe, TrainingState
from organism.world import SHAPES_ONLY, sample_truth

SIBLING = Path(__file__).parents[2] / "studies" / "siblings" / "no-grids"


def test_without_grids_every_other_picture_stays_as_it_was() -> None:
    own, sibling = ([sample_truth(seed, SIBLINGS[name]) for seed in range(1500)] for name in ("petri", "no-grids"))
    grids = [i for i, truth in enumerate(own) if truth.grid_columns]
    assert len(grids) > 30
    assert [i for i in range(1500) if own[i] != sibling[i]] == grids
    assert not any(truth.grid_columns for truth in sibling)
    said = {word.strip(",") for truth in sibling for caption in make_captions(truth) for word in caption.split()}
    assert not said & {"grid", "layout", "tiles", "contact", "sheet"}


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


def test_pictures_of_one_world_are_not_called_anothers(tmp_path: Path) -> None:
    write_world("petri", tmp_path)
    write_world("no-grids", tmp_path)  # nothing is drawn yet
    (tmp_path / "pool").mkdir()
    write_world("no-grids", tmp_path)
    with pytest.raises(BuildError, match="world 'no-grids', not of 'petri'"):
        write_world("petri", tmp_path)
    assert '"no-grids"' in (tmp_path / "world.json").read_text(encoding="utf-8")


def test_a_training_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "train.pt").write_bytes(b"hours")
    with pytest.raises(BuildError, match="holds a training already"):
        begin(tmp_path, trained=True)
    assert (tmp_path / "train.pt").read_bytes() == b"hours"


def test_a_build_folder_begins_with_petris_own_parts(tmp_path: Path) -> None:
    write_world("no-grids", tmp_path)
    (tmp_path / "pool").mkdir()
    pictures = np.stack([make_picture(sample_truth(seed, SHAPES_ONLY)) for seed in range(24)])
    np.save(tmp_path / "pool" / "0000.npy", pictures)
    begin(tmp_path, trained=True)
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    own = load_tokenizer(petri_folder() / "tokenizer")
    assert torch.equal(tokenize(tokenizer, ["grid of red cats"]), tokenize(own, ["grid of red cats"]))
    assert encode_patches(load_matrix(tmp_path), pixels_of(pictures[:2])).shape == (2, 16, 8, 8)
    state = TrainingState(make_unet(), make_text_encoder(tokenizer), Recipe())
    before = state.parts["unet"].conv_in.weight.clone()
    state.load(tmp_path / "train.pt")
    assert (state.examples, state.steps) == (0, 0)
    assert not torch.equal(before, state.parts["unet"].conv_in.weight)
    assert all(torch.equal(a, b) for a, b in zip(state.parts.parameters(), state.ema.parameters(), strict=True))


def test_siblings_are_made_step_by_step_at_equal_examples_and_go_on(tmp_path: Path) -> None:
    ran: list[list[str]] = []

    def run(words: list[str]) -> None:
        given = make_parser().parse_args(words)  # every step is one that the command line knows
        assert callable(given.run)
        ran.append(words)
        if words[0] == "begin":
            (given.build).mkdir(parents=True)
            (given.build / "matrix.pt").write_bytes(b"")

    names = ("no-grids", "petri")
    assert [step for name, step, became in make_siblings(names, tmp_path, 640, 2, run) if name == "petri"] == [
        "world", "begin", "latents", "text", "train", "export",
    ]  # fmt: skip
    trained = [make_parser().parse_args(words) for words in ran if words[0] == "train"]
    assert [args.examples for args in trained] == [640, 640]
    assert [args.build.name for args in trained] == ["no-grids", "petri"]
    again = {(name, step): became for name, step, became in make_siblings(names, tmp_path, 640, 2, run)}
    assert again["petri", "begin"] == "was there"
    assert again["petri", "train"] == "done"


def test_the_trained_sibling_has_petris_autoencoder_words_and_schedule_and_other_weights() -> None:
    sibling, own = load_base(str(SIBLING)), load_base("petri")
    assert vae_sha256(sibling) == vae_sha256(own)
    assert sibling.scheduler_config == own.scheduler_config
    assert sibling.tokenizer("3x3 grid of stars").input_ids == own.tokenizer("3x3 grid of stars").input_ids
    assert not torch.equal(sibling.unet.conv_in.weight, own.unet.conv_in.weight)


def test_the_trained_sibling_draws_colours_and_no_grids() -> None:
    """What it draws by count stands in docs/siblings.md; these 24 pictures of each would show that a base was taken for the other."""
    prompts = [f"grid of {noun} on a white background" for noun in ("stars", "circles", "cats", "apples") for _ in range(6)]
    grids = {
        name: sum(read_grid(picture) == "grid" for picture in draw_as_studies(folder, prompts, list(range(len(prompts)))))
        for name, folder in (("petri", petri_folder()), ("no-grids", SIBLING))
    }
    assert grids["petri"] > 12 > grids["no-grids"]
    red = draw_as_studies(SIBLING, ["red circle, white background"] * 8, list(range(8)))
    assert sum(read_subject_colour(picture) == "red" for picture in red) >= 6

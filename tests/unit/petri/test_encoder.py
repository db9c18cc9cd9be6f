"""petri's image-text encoder: towers, training that goes on where it stopped, and what the shipped weights read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.measure.companions import petri_companion
from loralab.petri.concept_names import GROUP, NAMES, members_of, rivals_of
from loralab.petri.encoder import (
    embed_pictures,
    embed_texts,
    encoder_folder,
    load_encoder,
    make_encoder,
    make_share,
    save_encoder,
)
from loralab.petri.text import load_tokenizer, tokenize
from loralab.petri.words import CREATURES, SHAPES
from loralab.pixels import pixels_of
from organism.clock import Deadline
from organism.encoder_train import EncoderRecipe, EncoderState, Pool, contrastive_loss, disturb, number_of, shifted, train_encoder
from organism.pool import SHARD
from organism.world import SHAPES_ONLY, sample_truth


@pytest.fixture(scope="module")
def concept_pictures() -> dict[str, np.ndarray]:
    """Pictures of known truth: (N, 64, 64, 3) with a monster, and without."""
    specimens = petri_companion().concept("monster").specimens(64)
    return {kind: np.stack([s.image for s in specimens if s.truth["concept"] == truth]) for kind, truth in (("yes", 1.0), ("no", 0.0))}


def test_rivals_are_all_that_may_be_there_instead():
    assert set(rivals_of("monster")) == set(NAMES) - {"monster"} - set(CREATURES)
    assert "monster" not in rivals_of("ogre")
    assert "goblin" in rivals_of("ogre")
    assert "monster" in rivals_of("cat")
    assert all(name not in rivals_of(name) for name in NAMES)
    assert members_of(GROUP) == tuple(CREATURES)


def test_the_loss_of_no_knowledge_is_log_of_the_batch():
    assert float(contrastive_loss(torch.zeros(8, 8))) == pytest.approx(np.log(8))
    assert float(contrastive_loss(100 * torch.eye(8))) == pytest.approx(0, abs=1e-6)


def test_a_shift_moves_by_whole_pixels():
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[0, :, 3, 4] = 1
    assert shifted(pixels, 2, -1)[0, 0, 5, 3] == 1
    assert torch.equal(shifted(pixels, 0, 0), pixels)


def test_disturbed_pictures_keep_their_shape():
    pixels = torch.zeros(8, 3, 64, 64)
    assert disturb(pixels, np.random.default_rng(0), EncoderRecipe()).shape == pixels.shape


def test_text_behind_the_end_is_not_read():
    encoder = make_encoder().eval()
    tokens = tokenize(load_tokenizer(Path("src/loralab/petri/weights/tokenizer")), ["a red cat"])
    other = tokens.clone()
    other[0, -5:] = 7
    with torch.no_grad():
        assert torch.allclose(encoder.text(tokens), encoder.text(other), atol=1e-6)


def test_training_learns_and_goes_on_where_it_stopped(tmp_path: Path):
    """Drawn shapes alone: two stretches give the very weights of one."""
    from loralab.petri.draw import make_picture
    from organism.captions import make_captions

    truths = [sample_truth(seed, SHAPES_ONLY) for seed in range(64)]
    images = np.stack([make_picture(truth) for truth in truths])
    tokenizer = load_tokenizer(Path("src/loralab/petri/weights/tokenizer"))
    tokens = tokenize(tokenizer, [c for truth in truths for c in make_captions(truth)]).unflatten(0, (64, -1))
    pool = Pool(images, images[:32], tokens, torch.tensor([number_of(truth) for truth in truths]))
    words = tokenize(tokenizer, list(NAMES))
    recipe = EncoderRecipe(batch=16)

    class Counted(Deadline):
        """A clock that stands still and ends after so many looks."""

        def __init__(self, steps: int) -> None:
            super().__init__(60)
            self.left = steps + 1

        @property
        def fraction(self) -> float:
            self.left -= 1
            return 1.0 if self.left <= 0 else 0.1

    def trained(*stretches: int) -> EncoderState:
        torch.manual_seed(0)
        state = EncoderState(make_encoder(), recipe)
        for steps in stretches:
            list(train_encoder(state, pool, words, recipe, Counted(steps)))
            state.save(tmp_path / "encoder.pt")
            fresh = EncoderState(make_encoder(), recipe)
            fresh.load(tmp_path / "encoder.pt")
            state = fresh
        return state

    one, two = trained(2), trained(1, 1)
    assert one.examples == two.examples == 32
    for a, b in zip(one.encoder.parameters(), two.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    save_encoder(one.encoder, tmp_path)
    again = load_encoder(tmp_path)
    assert torch.allclose(again.image(pixels_of(images[:2])), one.encoder.eval().image(pixels_of(images[:2])), atol=0.05)


def test_the_shipped_encoder_is_small_and_of_unit_length(concept_pictures: dict[str, np.ndarray]):
    assert sum(path.stat().st_size for path in encoder_folder().iterdir()) < 3e6
    encoder = load_encoder()
    for vectors in (embed_pictures(encoder, concept_pictures["yes"][:4]), embed_texts(encoder, ["monster", "a red cat"])):
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)


def test_it_knows_a_monster_from_what_is_none(concept_pictures: dict[str, np.ndarray]):
    share = make_share(load_encoder(), "monster")
    yes, no = (np.array([share(image) for image in concept_pictures[kind]]) for kind in ("yes", "no"))
    assert (yes[:, None] > no).mean() > 0.97  # the chance that a monster reads higher than something else
    assert (yes > 0.5).mean() > 0.8
    assert (no < 0.5).mean() > 0.95


def test_shares_of_all_that_may_be_there_sum_to_one(concept_pictures: dict[str, np.ndarray]):
    """The group and everything else are one another's rivals: no share is lost."""
    encoder, image = load_encoder(), concept_pictures["no"][0]
    kinds = (GROUP, *rivals_of(GROUP))
    assert sum(make_share(encoder, kind)(image) for kind in kinds) == pytest.approx(1, abs=1e-5)


def test_the_pictures_are_of_seeds_that_nothing_else_uses():
    from organism import focus
    from organism.encoder_train import FIRST_SHARD, HELD_OUT_SEED

    pool = range(FIRST_SHARD * SHARD, (FIRST_SHARD + 100) * SHARD)
    assert all(seed not in pool for seed in (0, 49_151, focus.FIRST_SEED, 40_000_000, HELD_OUT_SEED))


def test_a_drawn_shape_is_read_as_itself():
    from loralab.petri.draw import make_picture
    from loralab.petri.truth import make_truth

    encoder = load_encoder()
    right = [make_share(encoder, shape)(make_picture(make_truth(2, shape, "purple"))) > 0.5 for shape in SHAPES]
    assert sum(right) >= 8

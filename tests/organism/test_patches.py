"""The set encoder is linear, keeps colours, and the residual branches are silent before training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.petri.draw import make_picture
from loralab.pixels import pixels_of
from organism.clock import Goal
from organism.parallel import run_together, set_shared_gradients
from organism.patches import encode_patches, fit_patch_matrix, patch_rows, set_patch_encoder
from organism.strokes import make_strokes
from organism.vae import DecoderState, centre_latents, decoder_of, encode_means, make_vae, train_decoder
from organism.world import SHAPES_ONLY, sample_truth
from tests.support.spawned import fail_alone, take_half_a_batch, weight_and_inputs


def make_pictures(n: int, first: int = 0) -> np.ndarray:
    return np.stack([make_picture(sample_truth(seed, SHAPES_ONLY)) for seed in range(first, first + n)])


def test_the_set_encoder_codes_patches_linearly_and_a_matrix_can_stand_in_for_it() -> None:
    torch.manual_seed(0)
    vae, pictures = make_vae(), make_pictures(96)
    set_patch_encoder(vae, pixels_of(pictures))
    centre_latents(vae, pictures)
    matrix = fit_patch_matrix(vae, pixels_of(pictures))
    with torch.no_grad():
        latents = encode_means(vae, pixels_of(make_pictures(16, first=500)))
    stand_in = encode_patches(matrix, pixels_of(make_pictures(16, first=500)))
    assert latents.shape == (16, 16, 8, 8)
    assert (latents - stand_in).abs().max() < 0.1 * latents.std()


def test_patches_hold_their_pixels_in_order() -> None:
    pixels = torch.arange(3 * 16 * 16, dtype=torch.float32).reshape(1, 3, 16, 16)
    rows = patch_rows(pixels)
    assert rows.shape == (4, 193)
    torch.testing.assert_close(rows[0, :64].reshape(8, 8), pixels[0, 0, :8, :8])
    torch.testing.assert_close(rows[3, 64:128].reshape(8, 8), pixels[0, 1, 8:, 8:])


def test_the_gradients_of_two_processes_are_those_of_the_whole_batch_in_both(tmp_path: Path) -> None:
    weight, inputs = weight_and_inputs()
    loss = (inputs @ weight).square().mean()
    (reference,) = torch.autograd.grad(loss, [weight])
    run_together(2, take_half_a_batch, tmp_path)
    for rank in range(2):
        gradient, mean_loss = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(gradient, reference)
        assert abs(mean_loss - loss.item()) < 1e-6


def test_a_process_that_fails_ends_the_training() -> None:
    with pytest.raises(SystemExit, match="ended with"):
        run_together(2, fail_alone)


def test_alone_gradients_are_a_process_own() -> None:
    weight, _ = weight_and_inputs()
    assert set_shared_gradients([weight], [torch.ones(3)], torch.tensor(2.0)) == 2.0
    assert weight.grad is not None
    assert weight.grad.tolist() == [1, 1, 1]


def test_a_decoder_resumes_and_learns_from_strokes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae, pictures = make_vae(), np.concatenate([make_pictures(16), make_strokes(16)])
    encode = torch.no_grad()(partial(encode_means, vae))
    state = DecoderState(decoder_of(vae), lr=1e-3)
    *_, first = train_decoder(state, encode, pictures, Goal(8), batch=4)
    assert (first.examples, state.examples) == (8, 8)
    state.save(tmp_path / "decoder.pt")
    again = DecoderState(decoder_of(make_vae()), lr=1e-3)
    again.load(tmp_path / "decoder.pt")
    assert again.examples == 8
    for one, other in zip(state.decoder.parameters(), again.decoder.parameters(), strict=True):
        assert torch.equal(one, other)


def test_strokes_are_pictures_of_lines_that_differ() -> None:
    drawn = make_strokes(12)
    assert drawn.shape == (12, 64, 64, 3)
    assert len({picture.tobytes() for picture in drawn}) == 12
    assert np.array_equal(drawn, make_strokes(12))
    assert np.mean([len(np.unique(picture.reshape(-1, 3), axis=0)) > 1 for picture in drawn]) > 0.8  # a stroke may miss the picture

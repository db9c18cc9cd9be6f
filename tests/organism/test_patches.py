"""The set encoder is linear, keeps colours, and the residual branches are silent before training."""

from __future__ import annotations

import numpy as np
import torch

from loralab.petri.draw import make_picture
from loralab.pixels import pixels_of
from organism.parallel import make_workers, set_mean_gradients
from organism.patches import encode_patches, fit_patch_matrix, patch_rows, set_patch_encoder
from organism.vae import centre_latents, encode_means, make_vae
from organism.world import SHAPES_ONLY, sample_truth


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


def test_mean_gradients_equal_those_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(3))
    inputs = torch.randn(8, 3)
    loss = (inputs @ weight).square().mean()
    (reference,) = torch.autograd.grad(loss, [weight])
    threads = torch.get_num_threads()
    mean_loss = set_mean_gradients(make_workers(2), lambda part: (inputs[part] @ weight).square().mean(), [weight], 8, 4)
    torch.set_num_threads(threads)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, reference)
    assert abs(mean_loss - loss.item()) < 1e-6

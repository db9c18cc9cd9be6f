"""Prompts to embeddings, images to latents and back: against diffusers' own pipeline."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from loralab.bases import Base, decode_latents, embed_prompts, encode_images, tokenise
from loralab.errors import LabError


def test_embeddings_equal_those_of_diffusers(tiny_base: Base, tiny_base_folder: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, local_files_only=True)
    prompts = ["abc", "", "red cat"]
    expected = torch.cat([pipeline.encode_prompt(prompt, "cpu", 1, False)[0] for prompt in prompts])
    ours = embed_prompts(tiny_base, prompts)
    assert ours.shape == (3, 12, 16)
    assert torch.equal(ours, expected)


def test_an_embedding_does_not_depend_on_its_neighbours(tiny_base: Base) -> None:
    assert torch.equal(embed_prompts(tiny_base, ["ab", "cat", "x"])[1:2], embed_prompts(tiny_base, ["cat"]))


def test_a_prompt_is_never_cut_off(tiny_base: Base) -> None:
    assert embed_prompts(tiny_base, ["abcdefghij"]).shape == (1, 12, 16)  # 10 letters + start + end = 12 tokens
    assert embed_prompts(tiny_base, ["abcdefghijk"]).shape == (1, 24, 16)
    with pytest.raises(LabError, match="fills 5 chunks of 10 tokens") as raised:
        embed_prompts(tiny_base, ["ab", "a" * 41])
    assert raised.value.kind == "spec"


def test_a_base_that_was_asked_for_hidden_states_is_pickled(tiny_base: Base) -> None:
    tokens = tokenise(tiny_base, ["cat"])
    before = tiny_base.text_encoder(tokens, output_hidden_states=True).hidden_states
    carried = pickle.loads(pickle.dumps(tiny_base))
    assert torch.equal(embed_prompts(carried, ["cat"]), embed_prompts(tiny_base, ["cat"]))
    for base in (carried, tiny_base):
        states = base.text_encoder(tokens, output_hidden_states=True).hidden_states
        assert len(states) == len(before) > 1
        assert all(map(torch.equal, states, before))


def test_latents_are_the_scaled_mean_and_pixels_are_rounded(tiny_base: Base) -> None:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = encode_images(tiny_base, images)
    with torch.no_grad():
        expected = tiny_base.vae.encode(images).latent_dist.mode() * 0.5
        decoded = tiny_base.vae.decode(expected / 0.5).sample
    assert latents.shape == (2, 4, 8, 8)
    assert torch.equal(latents, expected)
    pictures = decode_latents(tiny_base, latents)
    assert (pictures.shape, pictures.dtype.name) == ((2, 16, 16, 3), "uint8")
    by_hand = ((decoded.clamp(-1, 1) / 2 + 0.5) * 255).round().permute(0, 2, 3, 1)
    assert (torch.from_numpy(pictures).float() - by_hand).abs().max() <= 1

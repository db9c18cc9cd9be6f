"""Adapters of SDXL with both text encoders: written, read by diffusers and by us, trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open

from loralab.adapters import Adapter, AdapterStack, adapter_sha256, load_adapter, make_adapter, save_adapter
from loralab.bases import Base, embed_prompts, predict, tokenise
from loralab.spec import TrainSpec
from loralab.train import TrainRun, train_stack
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")
Small = dict[str, tuple[Path, Path]]


@pytest.fixture
def saved(sdxl: Base, tmp_path: Path) -> tuple[Path, Adapter]:
    made = make_adapter(sdxl, TrainSpec(rank=2, text_encoder_lr=1e-4), 1)
    generator = torch.Generator().manual_seed(2)
    weights = {path: (down, torch.randn(up.shape, generator=generator) * 0.1) for path, (down, up) in made.weights.items()}
    adapter = Adapter(weights, 2.0, 2)
    save_adapter(tmp_path / "sdxl.safetensors", adapter, metadata={}, family=sdxl.family)
    return tmp_path / "sdxl.safetensors", adapter


def test_keys_and_metadata_are_sdxls(saved: tuple[Path, Adapter], sdxl: Base) -> None:
    path, adapter = saved
    with safe_open(path, "pt") as file:
        prefixes = {name.split("_text_model_")[0] if "_te" in name[:8] else "lora_unet" for name in file.keys()}  # noqa: SIM118
        assert file.metadata()["ss_base_model_version"] == "sdxl_base_v1-0"
    assert prefixes == {"lora_unet", "lora_te1", "lora_te2"}
    assert adapter_sha256(load_adapter(path, sdxl)) == adapter_sha256(adapter)


def test_diffusers_reads_it_as_the_stack_computes_it(saved: tuple[Path, Adapter], sdxl: Base, small: Small) -> None:
    path, adapter = saved
    pipeline = StableDiffusionXLPipeline.from_pretrained(small["sdxl"][0], local_files_only=True)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
    text, _, pooled, _ = pipeline.encode_prompt("a red cat", device="cpu", do_classifier_free_guidance=False)
    latents = torch.randn(1, *sdxl.latent_shape, generator=torch.Generator().manual_seed(0))
    side = sdxl.size_px
    told = {"text_embeds": pooled, "time_ids": torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32)}
    with torch.no_grad():
        theirs = pipeline.unet(latents, 500, text, added_cond_kwargs=told, return_dict=False)[0]
        with AdapterStack(sdxl, [adapter]).attached():
            our_text = embed_prompts(sdxl, ["a red cat"])
            ours = predict(sdxl, latents, torch.tensor([500]), our_text)
    assert (our_text[0, :-1] - text[0]).abs().max() < 1e-5
    assert (our_text[0, -1, : pooled.shape[1]] - pooled[0]).abs().max() < 1e-5
    assert (ours - theirs).abs().max() < 1e-5
    assert (our_text - embed_prompts(sdxl, ["a red cat"])).abs().max() > 1e-2


def test_both_text_encoders_are_trained(sdxl: Base) -> None:
    spec = TrainSpec(rank=1, steps=2, batch=1, text_encoder_lr=1e-3)
    latents = torch.randn(1, *sdxl.latent_shape, generator=torch.Generator().manual_seed(0))
    (trained,), _ = finish(train_stack(sdxl, [TrainRun("a", spec, latents, None, 0, tokens=tokenise(sdxl, ["cat"]))], root_seed=0))
    for part in ("unet.", "text_encoder.", "text_encoder_2."):
        assert max(float(up.abs().max()) for path, (_, up) in trained.adapter.weights.items() if path.startswith(part)) > 1e-4

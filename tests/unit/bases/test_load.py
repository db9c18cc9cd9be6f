"""Loading a base: what a folder must hold, what is refused and how the message reads, and that a base is frozen float32."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loralab.bases import Base, load_base
from loralab.errors import LabError
from loralab.store.keys import fingerprint_of


@pytest.fixture
def folder(tiny_base_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base that a test may damage."""
    shutil.copytree(tiny_base_folder, tmp_path / "base")
    return tmp_path / "base"


def message(folder: Path) -> str:
    with pytest.raises(LabError) as raised:
        load_base(str(folder))
    assert raised.value.kind == "model"
    return str(raised.value)


def test_a_base_is_frozen_float32_in_eval_mode(tiny_base: Base) -> None:
    assert (tiny_base.family, tiny_base.size_px, tiny_base.latent_shape) == ("sd1", 16, (4, 8, 8))
    for part in (tiny_base.unet, tiny_base.vae, tiny_base.text_encoder):
        assert not part.training
        assert all(not value.requires_grad and value.dtype == torch.float32 for value in part.parameters())


def test_fp16_weights_are_held_as_float32(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        save_file({name: value.half() for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    base = load_base(str(folder))
    for part in (base.unet, base.vae, base.text_encoder):
        assert all(value.dtype == torch.float32 for value in part.parameters())


def test_the_fingerprint_is_of_the_content_not_of_the_place(tiny_base: Base, folder: Path) -> None:
    assert len(tiny_base.fingerprint) == 64
    assert fingerprint_of(folder) == tiny_base.fingerprint
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert fingerprint_of(folder) != tiny_base.fingerprint


def test_a_missing_folder_and_a_folder_that_is_no_base(tmp_path: Path) -> None:
    assert "no base at" in message(tmp_path / "nowhere")
    assert "without model_index.json" in message(tmp_path)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    text = message(tmp_path / name)
    assert "pickle" in text
    assert "to_safetensors" in text


def test_weights_as_bin_only_are_refused(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    text = message(folder)
    assert "diffusion_pytorch_model.bin" in text
    assert "safe_serialization" in text


def test_a_class_that_is_not_in_the_table_is_never_loaded(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text(encoding="utf-8")) | {"_class_name": "FluxPipeline"}), encoding="utf-8")
    assert "FluxPipeline" in message(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_component_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    assert part in message(folder)


def test_json_that_cannot_be_read(folder: Path) -> None:
    (folder / "model_index.json").write_text("{", encoding="utf-8")
    assert "model_index.json" in message(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_truncated_weight_file(folder: Path, part: str) -> None:
    file = next((folder / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    assert f"{part}/ of the base cannot be loaded" in message(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_an_error_not_random_numbers(folder: Path, part: str) -> None:
    file = next((folder / part).glob("*.safetensors"))
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file, metadata={"format": "pt"})
    assert f"1 weights are missing from {part}/" in message(folder)

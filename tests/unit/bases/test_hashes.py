"""Hashes of a base's weights as the field's tools compute them, and as adapter files carry them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from loralab.bases import Base, model_hashes


def test_the_short_hash_is_of_64_kib_from_1_mib_on(tiny_base: Base, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # 1.28 MB
    (tmp_path / "model.safetensors").write_bytes(content)
    hashes = model_hashes(replace(tiny_base, weights=tmp_path / "model.safetensors"))
    assert hashes is not None
    assert hashes.short == hashlib.sha256(content[1048576 : 1048576 + 65536]).hexdigest()[:8]
    assert hashes.sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_has_changed_is_read_again(tiny_base: Base, tmp_path: Path) -> None:
    base = replace(tiny_base, weights=tmp_path / "model.safetensors")
    found = []
    for content in (b"one", b"longer"):
        (tmp_path / "model.safetensors").write_bytes(content)
        found.append(model_hashes(base))
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].short, found[1].short) == ("e3b0c442", "e3b0c442")  # of nothing: the file ends before 1 MiB
    assert found[0].sha256 != found[1].sha256


def test_a_folders_base_is_known_by_its_unet_and_one_in_several_files_by_none(tiny_base: Base, tiny_base_folder: Path) -> None:
    assert tiny_base.weights == tiny_base_folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert model_hashes(replace(tiny_base, weights=None)) is None

"""Files of two versions of a trainer: the same weights are told whatever stands in their metadata; a damaged file is told as such."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loralab.atlas.suite import compared, weights_of
from loralab.errors import LabError

ARM = Path("14-batch/one/loras")


def save(folder: Path, value: float, **metadata: str) -> Path:
    file = folder / ARM / "one-0.safetensors"
    file.parent.mkdir(parents=True)
    save_file({"lora_unet_x.lora_down.weight": torch.full((2, 3), value)}, file, metadata)
    return file


def test_metadata_make_no_other_weights_and_values_do(tmp_path: Path) -> None:
    one, same, other = save(tmp_path / "a", 1.0, made="today"), save(tmp_path / "b", 1.0), save(tmp_path / "c", 2.0)
    assert weights_of(one) == weights_of(same) != weights_of(other)
    (arm,) = compared(tmp_path / "a", tmp_path / "b")["14-batch"]
    assert arm.identical


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda content: b"no file of that kind", lambda content: b""])
def test_a_damaged_file_is_told_as_such(tmp_path: Path, damage) -> None:
    save(tmp_path / "a", 1.0)
    file = save(tmp_path / "b", 1.0)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(LabError, match=r"one-0\.safetensors"):
        compared(tmp_path / "a", tmp_path / "b")

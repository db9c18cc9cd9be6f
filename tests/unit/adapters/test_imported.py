"""LoRA files from elsewhere are taken into the store whole: by a link that was named, and with the configuration that PEFT's need."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from loralab.adapters import adapter_sha256, load_adapter
from loralab.bases import Base
from loralab.stages.imported import make_copies
from loralab.stages.trained import ADAPTER_FILE
from loralab.study import keys
from loralab.study.facts import BaseFacts
from loralab.study.slices import ImportSlice
from loralab.work.place import Place
from loralab.work.task import Group, Made, Task, Work

PEFT = Path(__file__).parents[2] / "fixtures" / "adapters" / "peft-unet"


def taken(file: Path, base: Base, folder: Path) -> Path:
    """Return the folder of the artefact of a file."""
    ref = keys.imported_ref(facts_of(base), file)
    task = Task(ref, ImportSlice(file, "one"))
    work = Work(Group("imported", "take", (task,), None, base.fingerprint), frozenset({ref}), {}, folder / "scratch", folder / "resume")
    (made,) = make_copies(work, Place({base.fingerprint: base}))
    assert isinstance(made, Made)
    return work.folder(ref)


def facts_of(base: Base) -> BaseFacts:
    return BaseFacts(base.name, base.family, base.fingerprint, base.size_px, 8, str(base.device), "", None, (), ())


def test_a_file_of_peft_keeps_its_configuration(other_tools_base: Base, tmp_path: Path) -> None:
    folder = taken(PEFT / "adapter_model.safetensors", other_tools_base, tmp_path)
    there = load_adapter(PEFT / "adapter_model.safetensors", other_tools_base)
    assert adapter_sha256(load_adapter(folder / ADAPTER_FILE, other_tools_base)) == adapter_sha256(there)


def test_another_alpha_in_the_configuration_is_another_artefact(other_tools_base: Base, tmp_path: Path) -> None:
    file = Path(shutil.copytree(PEFT, tmp_path / "peft")) / "adapter_model.safetensors"
    before = keys.imported_ref(facts_of(other_tools_base), file)
    config = file.with_name("adapter_config.json")
    told = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(told | {"lora_alpha": told["lora_alpha"] * 2}), encoding="utf-8")
    assert keys.imported_ref(facts_of(other_tools_base), file) != before


@pytest.mark.skipif(not hasattr(Path, "symlink_to"), reason="no links here")
def test_links_of_hugging_faces_cache_are_followed_where_they_are_named(other_tools_base: Base, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    for name, blob in (("adapter_model.safetensors", "0a1b"), ("adapter_config.json", "2c3d")):
        shutil.copyfile(PEFT / name, tmp_path / "blobs" / blob)
        (tmp_path / "snapshots" / name).symlink_to(f"../blobs/{blob}")
    folder = taken(tmp_path / "snapshots" / "adapter_model.safetensors", other_tools_base, tmp_path)
    assert not (folder / ADAPTER_FILE).is_symlink()
    there = load_adapter(PEFT / "adapter_model.safetensors", other_tools_base)
    assert adapter_sha256(load_adapter(folder / ADAPTER_FILE, other_tools_base)) == adapter_sha256(there)

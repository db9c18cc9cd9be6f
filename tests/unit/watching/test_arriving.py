"""When a file of a folder is taken: whole, and not written to for a while; what is said of others, and what is forgotten."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loralab.watching.arriving import Seen, Sight, Stamp, look_again, settled, silence, still_told
from loralab.watching.looking import look_at, stamps_of, take_over


def sight(name: str, size: int = 100, mtime: int = 1, fault: str = "") -> Sight:
    return Sight(name, Path(name), Stamp(size, mtime), fault)


def test_a_file_is_taken_when_it_has_stood_still_and_never_again():
    seen, ready, _ = look_again(Seen(), [sight("a")], 10.0, 5.0)
    assert ready == ()
    seen, ready, _ = look_again(seen, [sight("a")], 12.0, 5.0)
    assert ready == ()
    seen, ready, _ = look_again(seen, [sight("a")], 15.0, 5.0)
    assert [each.name for each in ready] == ["a"]
    seen = settled(seen, ready[0])
    for now in (16.0, 30.0):
        seen, ready, _ = look_again(seen, [sight("a")], now, 5.0)
        assert ready == ()


def test_a_file_that_grows_or_is_written_anew_is_waited_for_again():
    seen, *_ = look_again(Seen(), [sight("a", 50)], 0.0, 5.0)
    seen, ready, _ = look_again(seen, [sight("a", 100)], 6.0, 5.0)  # grown: the clock begins anew
    assert ready == ()
    seen, ready, _ = look_again(seen, [sight("a", 100)], 12.0, 5.0)
    seen = settled(seen, ready[0])
    seen, ready, _ = look_again(seen, [sight("a", 100, mtime=2)], 20.0, 5.0)  # same size, written again
    assert ready == ()
    _, ready, _ = look_again(seen, [sight("a", 100, mtime=2)], 26.0, 5.0)
    assert [each.stamp for each in ready] == [Stamp(100, 2)]


def test_half_a_file_is_never_taken_and_is_spoken_of_once():
    half = sight("a", fault="a is no whole file")
    seen, _, say = look_again(Seen(), [half], 0.0, 5.0)
    seen, ready, say = look_again(seen, [half], 30.0, 5.0)
    assert (ready, say) == ((), ())
    seen, ready, say = look_again(seen, [half], 61.0, 5.0)
    assert (ready, say) == ((), ("a is no whole file; waiting for the rest.",))
    seen, ready, say = look_again(seen, [half], 200.0, 5.0)
    assert (ready, say) == ((), ())
    seen, ready, _ = look_again(seen, [sight("a", 200)], 201.0, 5.0)  # the trainer was begun again
    _, ready, _ = look_again(seen, [sight("a", 200)], 207.0, 5.0)
    assert len(ready) == 1


def test_a_file_that_was_renamed_away_is_forgotten():
    seen, *_ = look_again(Seen(), [sight("tmp")], 0.0, 5.0)
    seen, *_ = look_again(seen, [sight("final")], 4.0, 5.0)
    assert set(seen.waiting) == {"final"}
    _, ready, _ = look_again(seen, [sight("final")], 9.0, 5.0)
    assert [each.name for each in ready] == ["final"]


def test_what_a_trainer_deletes_is_told_on_and_what_another_training_left_is_not():
    kept = {f"x-{n:06d}.safetensors": Stamp(9, 100 + n) for n in range(1, 6)}
    rotated = {"x-000004.safetensors": Stamp(9, 104), "x-000005.safetensors": Stamp(9, 105), "x.safetensors": Stamp(9, 106)}
    assert still_told(kept, rotated) == ["x-000001.safetensors", "x-000002.safetensors", "x-000003.safetensors"]
    begun_anew = {"x-000001.safetensors": Stamp(9, 201), "x-000002.safetensors": Stamp(9, 202)}
    assert still_told(kept, begun_anew) == []
    assert still_told({"last.safetensors": Stamp(9, 1)}, rotated) == []  # no number: nothing tells where it belongs
    assert still_told(kept, {"y-000009.safetensors": Stamp(9, 300)}) == []


def test_silence_is_measured_by_how_often_files_came():
    assert silence([0.0], 10_000) == ""
    assert silence([0.0, 600.0, 1200.0], 2900.0) == ""
    assert (
        silence([0.0, 600.0, 1200.0], 3100.0) == "Nothing new for 32 min, although a file usually takes 10 min: "
        "has the trainer stopped? Still watching."
    )
    assert silence([0.0, 5.0], 60.0) == ""  # two minutes at least


# --- files --------------------------------------------------------------------------------------------------------------


def write(file: Path, name: str = "lora_unet_x.lora_down.weight") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.ones(2, 2)}, file)


def test_a_folder_is_looked_at_whatever_lies_there(tmp_path: Path):
    assert look_at(tmp_path / "none", {}) == ({}, [])
    assert look_at(tmp_path, {}) == ({}, [])
    write(tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    cut = {"half": content[:-8], "head": content[:20], "empty": b"", "long": content + b"\0" * 8}
    for name, data in cut.items():
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    (tmp_path / "zeros.safetensors").write_bytes(b"\0" * len(content))  # room that was taken before anything was written
    (tmp_path / "other.safetensors.tmp").write_bytes(content)
    (tmp_path / ".hidden.safetensors").write_bytes(content)
    write(tmp_path / "checkpoint-8" / "pytorch_lora_weights.safetensors")
    sights, _ = look_at(tmp_path, {})
    assert {name for name, each in sights.items() if not each.fault} == {
        "whole.safetensors",
        "checkpoint-8/pytorch_lora_weights.safetensors",
    }
    assert {name for name, each in sights.items() if each.fault} == {f"{name}.safetensors" for name in (*cut, "zeros")}


def test_a_file_of_peft_waits_for_its_configuration(tmp_path: Path):
    write(tmp_path / "adapter_model.safetensors", "base_model.model.x.lora_A.weight")
    sights, _ = look_at(tmp_path, {})
    assert "adapter_config.json is not there yet" in sights["adapter_model.safetensors"].fault
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    sights, _ = look_at(tmp_path, sights)
    assert sights["adapter_model.safetensors"].fault == ""
    copy = take_over(sights["adapter_model.safetensors"], tmp_path / "copies")
    assert copy is not None
    assert copy.with_name("adapter_config.json").is_file()


def test_a_copy_is_the_file_as_it_was_seen_or_nothing(tmp_path: Path):
    write(tmp_path / "out" / "checkpoint-8" / "x.safetensors")
    (own,) = look_at(tmp_path / "out", {})[0].values()
    copy = take_over(own, tmp_path / "copies")
    assert copy is not None
    assert copy.read_bytes() == own.path.read_bytes()
    assert stamps_of(tmp_path / "copies") == {own.name: own.stamp}
    own.path.write_bytes(own.path.read_bytes() + struct.pack("<Q", 1))  # the trainer writes it again
    assert take_over(Sight(own.name, own.path, Stamp(1, 1)), tmp_path / "copies") is None
    own.path.unlink()
    assert take_over(Sight(own.name, own.path, Stamp(1, 1)), tmp_path / "copies") is None
    assert stamps_of(tmp_path / "copies") == {own.name: own.stamp}  # what was there stays, and no scratch is left
    assert [file.name for file in copy.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("ending", [".safetensors", ".SAFETENSORS"])
def test_endings_are_read_as_people_write_them(tmp_path: Path, ending: str):
    write(tmp_path / "out" / f"x{ending}")
    (own,) = look_at(tmp_path / "out", {})[0].values()
    take_over(own, tmp_path / "copies")
    assert list(stamps_of(tmp_path / "copies")) == [f"x{ending}"]

"""The accelerator's kit, dry on a processor: every part runs in order and leaves what it found on disk; its figures by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from organism.accelerator.__main__ import main
from organism.accelerator.notebook import Clock, Notebook, write_notes
from organism.accelerator.right import apart, difference
from organism.accelerator.trained import MOST_BYTES, recipe_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # in peft and in diffusers' own solver
@pytest.mark.usefixtures("dry_runs_known")
def test_a_dry_run_goes_through_every_part_and_writes_what_it_found(tmp_path: Path) -> None:
    main(["--dry", "--out", str(tmp_path), "--minutes", "30"])
    notes = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert list(dict.fromkeys(note["part"] for note in notes)) == ["machine", "right", "fast", "trained"]
    by_about = {note["about"]: note["found"] for note in notes}
    assert by_about["4 pictures of 2 steps, cpu against cpu"] == {"largest": 0.0, "mean": 0.0}
    assert by_about["trainings twice on cpu"] == {"bits": "the same"}
    for base in ("petri", "sd15", "sdxl"):
        assert by_about[f"{base}: 1 LoRAs together, batch 1"]["adapter_steps_a_second"] > 0
        assert by_about[f"{base}: peft, one at a time, batch 1"]["adapter_steps_a_second"] > 0
    trained = by_about["petri on cpu, batches of 8"]
    assert trained["examples"] >= 8
    weights = sorted(tmp_path.glob("weights-*"))[-1]
    files = list(weights.glob("*.safetensors"))
    assert {file.stem for file in files} == {"unet", "text_encoder"}
    assert all(file.stat().st_size < MOST_BYTES for file in files)
    assert all(value.dtype == torch.float16 for value in load_file(weights / "unet.safetensors").values())
    assert "## trained" in (tmp_path / "notes.md").read_text(encoding="utf-8")


def test_without_a_device_the_kit_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device here; --dry"):
        main(["--out", str(tmp_path)])


def test_differences_by_hand() -> None:
    # |3 - 1| = 2 in one of four values: the largest 2, the mean .5
    one, other = np.array([[1, 0], [0, 0]], np.uint8), np.array([[3, 0], [0, 0]], np.uint8)
    assert difference(one, other) == {"largest": 2.0, "mean": 0.5}
    # (3, 4) against (3, 3): 1, and 1 over 5
    assert apart(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx({"largest": 1.0, "relative": 0.2})


def test_the_rate_goes_with_the_root_of_the_batch() -> None:
    assert recipe_of(64).lr == pytest.approx(8e-4)
    assert recipe_of(256).lr == pytest.approx(1.6e-3)
    assert recipe_of(4096).lr == 2e-3  # beyond, nothing was tried


def test_findings_are_on_disk_after_each(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "kit")
    notebook.add("right", "pictures", largest=2.0)
    assert len((tmp_path / "kit" / "notes.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    notebook.add("fast", "training", left_out="no time")
    assert write_notes(notebook.notes).count("| what | found |") == 2
    assert (tmp_path / "kit" / "notes.md").read_text(encoding="utf-8") == write_notes(notebook.notes)


def test_a_clock_tells_what_there_is_time_for() -> None:
    assert Clock(100.0).has(90.0)
    assert not Clock(100.0).has(110.0)
    assert Clock(-5.0).left_seconds == 0.0

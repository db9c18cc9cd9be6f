"""Mistakes at the command line: one clear message, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.commands import run

GOOD = """
study: own
base: petri
data:
  mine: {folder: pictures}
  own-images: {images_of: base, prompts: [thing], guidance: 1, steps: 2}
train: {steps: 1, replicates: 1}
sample: {steps: 1, seeds: 1}
arms:
  mine: {data: mine, captions: thing}
experiments:
  one:
    question: Anything?
    claims:
      - {say: it changes, measure: change, cell: mine @ "thing", expect: higher, margin_absolute: 1}
"""


def complaint(*words: str | Path, code: int = 2) -> str:
    return run(*words, code=code).stderr


def study(tmp_path: Path, old: str = "", new: str = "") -> Path:
    assert old in GOOD
    file = tmp_path / "own.yaml"
    file.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    return file


def test_an_unknown_key(tmp_path: Path):
    said = complaint("run", study(tmp_path, "measure:", "meassure:"), "--lab", tmp_path / "lab")
    assert "unknown key 'meassure'" in said
    assert "own.yaml, line 15" in said
    assert not (tmp_path / "lab").exists()


def test_an_unknown_instrument(tmp_path: Path):
    said = complaint("run", study(tmp_path, "measure: change", "measure: vibes"), "--lab", tmp_path / "lab")
    assert "unknown instrument 'vibes'" in said
    assert "chroma" in said


def test_a_missing_folder(tmp_path: Path):
    assert "no folder at" in complaint("run", study(tmp_path), "--lab", tmp_path / "lab", "--anyway")


def test_an_unreadable_image(tmp_path: Path):
    (tmp_path / "pictures" / "1_mine").mkdir(parents=True)
    (tmp_path / "pictures" / "1_mine" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n half of a picture")
    assert "broken.png" in complaint("run", study(tmp_path), "--lab", tmp_path / "lab", "--anyway")


def test_a_missing_base(tmp_path: Path):
    said = complaint("run", study(tmp_path, "base: petri", "base: nowhere/model"), "--lab", tmp_path / "lab", "--anyway")
    assert "nowhere/model" in said


def test_two_presets_at_once(tmp_path: Path):
    assert "--smoke and --quick" in complaint("run", study(tmp_path), "--smoke", "--quick")


def test_an_unknown_study():
    assert "article" in complaint("run", "artikel")


def test_an_unknown_option():
    complaint("run", "article", "--fast")


def test_a_claim_that_the_budget_cannot_decide_is_refused_by_name(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "pictures" / "a.png")
    said = complaint("run", study(tmp_path), "--lab", tmp_path / "lab")
    assert "it changes" in said
    assert "--anyway" in said


AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no permission to write with the folder's mode")
@pytest.mark.skipif(AS_ROOT and sys.platform != "linux", reason="root may write anywhere")
def test_a_lab_without_write_permission(tmp_path: Path):
    lab = tmp_path / "lab"
    lab.mkdir()
    lab.chmod(0o555)
    done = run("run", "article", "--smoke", "--lab", lab, code=1, humble=AS_ROOT)
    assert "no permission to write" in done.stderr


def test_a_full_disk_is_said_and_finished_work_is_kept(tmp_path: Path):
    """RLIMIT_FSIZE stands in for a full disk: a write beyond it fails in the middle, as on a full disk."""
    code = (
        "import errno, os, sys\nfrom pathlib import Path\nimport loralab.store.disk as disk\nfrom loralab.store import Store\n"
        "store = Store(Path(sys.argv[1]))\nwith store.publish('images', 'kept', {}):\n    pass\n"
        "with store.publish('images', 'lost', {}) as scratch:\n    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
    assert "the disk is full" in done.stderr
    assert "finished work is kept" in done.stderr
    assert (tmp_path / "store" / "images" / "kept" / "manifest.json").is_file()
    assert not (tmp_path / "store" / "images" / "lost").exists()

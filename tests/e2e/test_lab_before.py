"""A lab that an earlier version wrote: its adapters, pictures and readings are found and not made again.

The fixture was written by the version whose pictures had no typed sources; its pictures are blank and its weights zero, to be small, and
its keys and manifests are those of that version.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import polars as pl
import pytest

from loralab.infer.pairs import with_sources
from tests.support.commands import run

BEFORE = Path(__file__).parents[1] / "fixtures" / "lab-before.zip"
KINDS = ("adapters", "data", "images", "plumbing", "readings")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(BEFORE) as lab:
        lab.extractall(tmp_path)
    (tmp_path / "lab" / "store" / "scratch").mkdir()
    return tmp_path


def made(lab: Path) -> dict[Path, int]:
    """Return when each artefact of the store was made."""
    return {path: path.stat().st_mtime_ns for kind in KINDS for path in (lab / "store" / kind).glob("*/manifest.json")}


@pytest.mark.parametrize(("study", "options"), [("before", ["--full"]), ("options", [])])
def test_what_an_earlier_version_made_is_found(folder: Path, study: str, options: list[str]):
    before, old = made(folder / "lab"), pl.read_parquet(folder / "lab" / "studies" / study / "readings.parquet")
    run("run", f"{study}.yaml", *options, "--anyway", "--lab", "lab", cwd=folder)
    assert made(folder / "lab") == before
    new = pl.read_parquet(folder / "lab" / "studies" / study / "readings.parquet")
    assert new.drop("is_base").equals(old)
    assert new.equals(with_sources(old))
    assert new.filter("is_base")["arm"].unique().to_list() == ["base"]

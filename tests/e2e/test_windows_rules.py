"""The smoke study under Windows' rules: written, resumed and written again while a viewer and a web interface hold files of it open."""

import sys
from pathlib import Path

import pytest

from loralab.cli import main
from tests.support.windows import apply_windows_rules, names_that_windows_cannot_hold

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the rules are simulated by what Linux tells of open files")


def loralab(*words: object) -> int:
    """Return the exit code of a command run in this process."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


def test_the_smoke_study_is_written_and_goes_on_where_windows_holds_files_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    apply_windows_rules(monkeypatch)
    lab = tmp_path / "lab"
    assert loralab("demo", "--smoke", "--lab", lab) == 0
    assert list(names_that_windows_cannot_hold(lab)) == []
    assert list((lab / "store" / "scratch").iterdir()) == []
    made = {path: path.stat().st_mtime_ns for path in (lab / "store").rglob("manifest.json")}
    study = lab / "studies" / "article"
    lora, picture, caption = (sorted(study.glob(pattern))[0] for pattern in ("loras/*", "summary/*.png", "datasets/*/*/*.txt"))
    with lora.open("rb"), picture.open("rb"), caption.open("rb"):
        assert loralab("demo", "--smoke", "--lab", lab) == 0
    assert {path: path.stat().st_mtime_ns for path in (lab / "store").rglob("manifest.json")} == made
    assert [path for path in study.iterdir() if path.name.startswith(".") and path.suffix != ".lock"] == []  # a lock's file stays


def test_a_readings_file_that_a_spreadsheet_holds_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from loralab.store import write_atomically

    apply_windows_rules(monkeypatch)
    monkeypatch.setattr("loralab.cli._run", lambda *_, **__: write_atomically(tmp_path / "readings.parquet", b"new"))
    (tmp_path / "readings.parquet").write_bytes(b"old")
    with (tmp_path / "readings.parquet").open("rb"):
        assert loralab("demo", "--smoke", "--lab", tmp_path / "lab") == 1
    assert "another program has it open" in capsys.readouterr().err

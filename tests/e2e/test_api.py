"""The public API as docs/api.md shows it: from a study of one's own to its figures, with an instrument and a generator of one's own."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import loralab
from tests.support.commands import run_python

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
NAMES = [
    "Audited", "Checked", "Example", "Instrument", "LabError", "Reading", "Study", "StudyResult", "audit", "check", "load_study", "plan",
    "run",
]  # fmt: skip


def test_dir_shows_exactly_the_public_names() -> None:
    assert dir(loralab) == sorted(NAMES)
    assert all(getattr(loralab, name).__doc__ for name in NAMES)
    page = DOCS.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}" not in page and f"loralab.{name}" not in page] == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import loralab, sys; print([name for name in ('torch', 'polars', 'pydantic', 'numpy', 'diffusers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


def test_the_functions_stay_functions_when_everything_is_imported() -> None:
    code = "import loralab.cli, loralab.api, loralab, pkgutil, importlib\n" + textwrap.dedent(
        """
        loralab.load_study
        from loralab.auditing import run
        import loralab.auditing as found
        print(callable(loralab.check), callable(loralab.plan), callable(loralab.run), callable(loralab.audit))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert "True True True True" in done.stdout, done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        loralab.magic


def test_the_page_of_the_api_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    run_python("\n".join(blocks), cwd=tmp_path)
    assert (tmp_path / "lab" / "studies" / "dots" / "report" / "explore.html").is_file()
    assert (tmp_path / "dots.svg").read_text(encoding="utf-8").startswith("<svg")


def test_mistakes_are_told_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(loralab.LabError, match="no preset 'huge'"):
        loralab.load_study("article", "huge")
    with pytest.raises(loralab.LabError, match="unknown instrument"):
        loralab.load_study({
            "study": "x", "data": {"d": {"generate": "shapes", "shapes": ["circle"], "fill": "grey"}},
            "arms": {"a": {"data": "d", "captions": "q"}},
            "experiments": {"e": {"question": "?", "claims": [{"say": "s", "measure": "sparkle", "cell": 'a @ "q"', "expect": "higher"}]}},
        }, lab=tmp_path)  # fmt: skip


def test_a_generator_makes_a_training_set_once(tmp_path: Path) -> None:
    calls = []

    def greys(size_px: int, levels: list[int]) -> list[loralab.Example]:
        calls.append(size_px)
        return [loralab.Example(np.full((size_px, size_px, 3), level, np.uint8), f"grey {level}", {}, "own") for level in levels]

    told = {
        "study": "x",
        "data": {"d": {"generate": "greys", "levels": [10, 200]}},
        "arms": {"a": {"data": "d"}},
        "experiments": {"e": {"question": "?", "claims": [{"say": "s", "measure": "chroma", "cell": 'a @ "grey"', "expect": "lower"}]}},
    }
    study = loralab.load_study(told, generators={"greys": greys}, lab=tmp_path)
    again = loralab.load_study(told, generators={"greys": greys}, lab=tmp_path)
    assert study.spec.data == again.spec.data
    folder = Path(study.spec.data["d"].folder)
    assert sorted(file.read_text(encoding="utf-8") for file in folder.glob("*.txt")) == ["grey 10", "grey 200"]
    assert calls == [64, 64]

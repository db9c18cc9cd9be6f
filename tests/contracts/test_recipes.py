"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the package: the contract suites pick the new row up and pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = shutil.ignore_patterns("weights", "encoder_weights", "__pycache__")


def block(recipe: str) -> str:
    """Return the Python of a recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = text[text.index(f"## Recipe: {recipe}") :].split("\n## ", 1)[0]
    return part.split("```python\n", 1)[1].split("```", 1)[0]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The package and its contract suites, petri's weights left where they are."""
    shutil.copytree(ROOT / "src" / "loralab", tmp_path / "src" / "loralab", ignore=HEAVY)
    for folder in ("weights", "encoder_weights"):
        shutil.copytree(ROOT / "src" / "loralab" / "petri" / folder, tmp_path / "src" / "loralab" / "petri" / folder, copy_function=os.link)
    shutil.copytree(ROOT / "tests" / "contracts", tmp_path / "tests" / "contracts", ignore=HEAVY)
    return tmp_path


def passes(folder: Path, *words: str) -> str:
    """Return what pytest says of the copy; fails where a test does."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_instrument_is_one_file_and_one_row(copied: Path):
    (copied / "src" / "loralab" / "measure" / "warmth.py").write_text(block("add an instrument"), encoding="utf-8")
    table = copied / "src" / "loralab" / "measure" / "table.py"
    text = table.read_text(encoding="utf-8")
    text = re.sub(r"(from loralab.measure import .*outline, shape)", r"\1, warmth", text)
    text = re.sub(r"(FAMILIES = \(.*)\)", r"\1, warmth)", text)
    table.write_text(text, encoding="utf-8")
    said = passes(copied, "tests/contracts/test_instruments.py", "-k", "warmth")
    assert re.search(r"\b8 passed", said) or "........" in said

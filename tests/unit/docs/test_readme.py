"""The README's map of files is whole: every package and every module beside them has a place in it, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "loralab"
NOT_SHOWN = {"__init__.py", "__main__.py"}


def mapped(text: str) -> set[str]:
    """Return the packages and modules of ``src/loralab`` that the map's first column names."""
    rows = text.split("## Finding your way around")[1].split("\n## ")[0].splitlines()
    first = [row.split("|")[1] for row in rows if row.startswith("|")]
    names = {name for cell in first if "src/loralab/" in cell for name in re.findall(r"`([^`]+)`", cell)}
    return {name.removeprefix("src/loralab/").rstrip("/") for name in names}


def present() -> set[str]:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return packages | {path.name for path in PACKAGE.glob("*.py")} - NOT_SHOWN


def test_every_package_and_module_is_on_the_map() -> None:
    assert mapped((ROOT / "README.md").read_text(encoding="utf-8")) == present()


def test_a_package_that_is_missing_would_be_found() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert present() - mapped(text.replace("`src/loralab/data/`", "`data/`")) == {"data"}

"""The house's sizes: a file of more than 400 lines, or a function of more than 45, is two."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES, MOST_OF_A_FUNCTION = 400, 45


def too_long(text: str) -> Iterator[str]:
    """Yield what is too long in a file."""
    if (n := len(text.splitlines())) > MOST_LINES:
        yield f"{n} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n = (node.end_lineno or node.lineno) - node.lineno + 1
            if n > MOST_OF_A_FUNCTION:
                yield f"{node.name}: {n} lines"


@pytest.mark.parametrize("folder", ["src", "organism", "tests", "benchmarks"])
def test_nothing_is_longer_than_is_read_at_a_sitting(folder: str) -> None:
    files = {file: file.read_text(encoding="utf-8") for file in sorted((ROOT / folder).rglob("*.py"))}
    assert len(files) > 10
    assert {str(file.relative_to(ROOT)): said for file, text in files.items() if (said := list(too_long(text)))} == {}


def test_what_is_too_long_is_found() -> None:
    body = "\n".join(["    x = 1"] * 45)
    assert list(too_long(f"def f():\n{body}\n")) == ["f: 46 lines"]
    assert list(too_long("x = 1\n" * 401)) == ["401 lines"]
    assert list(too_long("x = 1\n" * 400)) == []

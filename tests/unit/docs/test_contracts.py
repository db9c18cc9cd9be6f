"""docs/contracts.md says what is so: every function that it names is there, and takes what the page says."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONTRACTS = Path(__file__).parents[3] / "docs" / "contracts.md"


def promised(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (module, function, names of its parameters) of the page's block of types; a class's own functions are left out."""
    module = ""
    for line in text.split("```python")[1].split("```")[0].splitlines():
        if found := re.match(r"# (loralab[.\w]*)", line):
            module = found[1]
        if found := re.match(r"def (\w+)\((.*)", line):
            arguments = re.sub(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]", "", found[2]).split(")")[0]
            named = (re.match(r"\s*(\w+)", argument) for argument in arguments.split(","))
            yield module, found[1], [name[1] for name in named if name]


def broken(module: str, function: str, parameters: list[str]) -> str:
    """Return what is not so of a promise; "" where all is."""
    target: Any = getattr(importlib.import_module(module), function, None)
    if target is None:
        return f"{module} has no {function}"
    there = list(inspect.signature(target).parameters)
    missing = [name for name in parameters if name not in there]
    return f"{module}.{function} takes {there}, not {missing}" if missing else ""


FUNCTIONS = list(promised(CONTRACTS.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("module", "function", "parameters"), FUNCTIONS, ids=[function for _, function, _ in FUNCTIONS])
def test_every_function_of_the_contracts_is_there_and_takes_what_they_say(module: str, function: str, parameters: list[str]):
    assert broken(module, function, parameters) == ""


def test_a_promise_that_does_not_hold_is_caught():
    assert len(FUNCTIONS) > 50
    assert broken("loralab.store", "no_such", []) == "loralab.store has no no_such"
    assert "not ['stores']" in broken("loralab.work.execute", "execute", ["groups", "stores"])


def test_every_module_that_the_walks_name_is_there():
    walks = (
        CONTRACTS.read_text(encoding="utf-8").split("## Two walks")[1].split("## Nouns as types")[0].split("Before there were stages")[0]
    )
    for path in re.findall(r"\b((?:[a-z_]+\.)+[a-z_]+)\b", walks):
        if path not in ("readings.parquet", "result.json", "verdicts.json"):
            module, _, name = f"loralab.{path}".rpartition(".")
            assert hasattr(importlib.import_module(module), name), path

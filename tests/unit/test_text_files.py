"""Text is UTF-8 with plain newlines wherever it is written or read: on Windows neither is the default."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "benchmarks", "organism", "docs")
TEMPORARY = {"NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"}
READERS, WRITERS = {"read_text", "open", "fdopen", "TextIOWrapper", "FileHandler", "popen", "getoutput"} | TEMPORARY, {"write_text"}
#: functions that hand over bytes unless they are asked for text
PROCESSES = {"run", "Popen", "check_output"}
#: `open` of these is not the one of files
OTHER_OPEN = {"Image", "webbrowser", "tarfile", "zipfile", "image", "PIL"}


def calls_without_encoding(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what it lacks) of the calls that leave an encoding, or the newlines of what is written, to the system."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in READERS | WRITERS and "encoding" not in named and not _binary(node, named, name) and not _other(node):
                yield node.lineno, f"{name} without encoding="
            if name in WRITERS and "newline" not in named:
                yield node.lineno, f"{name} without newline="
            if name in PROCESSES and (_true(named.get("text")) or _true(named.get("universal_newlines"))) and "encoding" not in named:
                yield node.lineno, f"{name}(text=True) without encoding="


def _binary(node: ast.Call, named: dict[str | None, ast.expr], name: str) -> bool:
    is_open = isinstance(node.func, ast.Name) and name == "open"
    places = node.args[1:] if is_open else node.args  # the first that `open(...)` is given is no mode
    given = [item for part in (*places, named.get("mode")) if part is not None for item in ast.walk(part)]
    modes = [item.value for item in given if isinstance(item, ast.Constant) and isinstance(item.value, str) and len(item.value) <= 4]
    return any("b" in mode for mode in modes) or (name == "read_text" and len(node.args) > 0) or (name in TEMPORARY and not modes)


def _other(node: ast.Call) -> bool:
    if not (isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)):
        return False
    return node.func.value.id in OTHER_OPEN or (node.func.value.id, node.func.attr) == ("os", "open")


def _true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_open_names_its_encoding_and_every_write_its_newlines(folder: str):
    found = [
        f"{file.relative_to(ROOT)}:{line}: {lacks}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for line, lacks in calls_without_encoding(file.read_text(encoding="utf-8"))
        if folder == "src" or "newline" not in lacks
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "p.read_text()", "open(p)", "p.open()", "p.open('w')", "p.write_text(x, encoding='utf-8')", "p.write_text(x, newline='\\n')",
        "subprocess.run(c, text=True)", "os.fdopen(1, 'w')",
        "open('b.md')", "io.open('a')", "subprocess.run(c, universal_newlines=True)", "TemporaryFile('w')", "logging.FileHandler(p)",
    ],
)  # fmt: skip
def test_a_call_that_names_none_is_found(line: str):
    assert list(calls_without_encoding(line))


@pytest.mark.parametrize(
    "line",
    [
        "p.open('rb')", "open(p, mode='wb')", "p.read_text(encoding='utf-8')", "Image.open(p)",
        "p.write_text(x, encoding='ascii', newline='')",
        "subprocess.run(c)", "TemporaryFile()", "subprocess.run(c, text=True, encoding='utf-8')",
    ],
)  # fmt: skip
def test_others_are_not(line: str):
    assert list(calls_without_encoding(line)) == []

"""No module of the package needs itself, imports inside functions included; what is for type checkers alone does not count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import loralab

PACKAGE = Path(str(loralab.__file__)).parent


def modules() -> dict[str, Path]:
    """Return every module's file by its name."""
    names = {file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


def needed(tree: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules that a module imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from needed(node, known)


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return modules of which each needs the next and the last the first; empty where there are none."""
    left = {name: set(of) & graph.keys() - {name} for name, of in graph.items()}
    while free := [name for name, of in left.items() if not of]:
        left = {name: of - set(free) for name, of in left.items() if name not in free}
    path = [next(iter(left))] if left else []
    while path and (further := min(left[path[-1]])) not in path:
        path.append(further)
    return path[path.index(further) :] if path else []


def test_no_module_needs_itself():
    known = modules()
    graph = {name: set(needed(ast.parse(file.read_text(encoding="utf-8")), known)) for name, file in known.items()}
    assert len(graph) > 250
    assert cycle(graph) == []


def test_a_cycle_is_caught():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) in (["b", "c"], ["c", "b"])
    assert cycle({"a": {"b", "os"}, "b": set()}) == []
    inside = ast.parse("def f():\n    from loralab.cli import main\nif TYPE_CHECKING:\n    import loralab.api")
    assert list(needed(inside, {})) == ["loralab.cli"]

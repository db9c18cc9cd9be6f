"""A study file as YAML: its text in; a tree that knows its lines, the tree as plain values, and every mistake of the YAML itself, out."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase, CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from loralab.errors import LabError, Problem, lab_error

Location = tuple[str | int, ...]
MAX_STUDY_BYTES = 1 << 20
#: a study of a hundred experiments has some ten thousand values; aliases can make billions out of a few lines
MAX_VALUES, MAX_DEPTH = 100_000, 30
#: lines that are repaired, so that the mistakes behind them are found too
MAX_REPAIRS = 20
QUOTE = "put the text in quotes"
#: words of the YAML library's message -> what was found, what to do
SYNTAX: tuple[tuple[str, str, str], ...] = (
    ("mapping values are not allowed", "a colon inside a text, or a line indented too far", f'{QUOTE}: say: "one: two"'),
    ("undefined alias", "a text that starts with `*`", f'{QUOTE}: adapters: "*.safetensors"'),
    ("scanning an anchor", "a text that starts with `&`", QUOTE),
    ("scanning an alias", "a text that starts with `*`", QUOTE),
    ("scanning a block scalar", "a text that starts with `|` or `>`", QUOTE),
    ("end of stream", "a quote that is opened here but never closed", "close it"),
    ("escape", "a backslash inside double quotes, where it starts an escape sequence",
     "put the path in single quotes, or use / instead of backslashes"),
    ("another document", "a second document after `---`", "one study per file"),
    ("expected ',' or '}'", "`{...}` that YAML cannot read", f"{QUOTE} if it contains `: `, `,`, `[` or `{{`; close every brace"),
    ("expected ',' or ']'", "`[...]` that YAML cannot read", f"{QUOTE} if it contains `: `, `,`, `[` or `{{`; close every bracket"),
    ("expected <block end>", "a text that starts with a quote or a brace and continues after it, or an indentation that matches no "
        "line above",
     f"{QUOTE}, or indent the line like its neighbours"),
    ("could not find expected ':'", "a line without `key:`", "write `key: value`"),
)  # fmt: skip
_START = re.compile(r"found character '(.+)' that cannot start")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_LINE = re.compile(r"^(\s*(?:- )?[\w-]+:\s+)(\S.*?)\s*$")


def read_text(path: Path) -> str:
    """Return the text of a study file; raises LabError("spec") where there is none, or none in UTF-8."""
    if not path.is_file():
        near = sorted(found.name for found in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        do = f"the study files there are {', '.join(near)}" if near else ""
        raise lab_error("spec", f"there is no study file at {path}", "the path to a .yaml file", do)
    if path.stat().st_size > MAX_STUDY_BYTES:
        raise lab_error("spec", f"{path.name} is larger than 1 MiB", "a study file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{path.name} is not UTF-8 text ({error.reason} at byte {error.start})"
        raise lab_error("spec", found, "a YAML study file in UTF-8", "save it again as UTF-8") from error


def parse_yaml(text: str, name: str) -> tuple[CommentedMap, list[Problem]]:
    """Return the tree of a study file, and what is wrong with it as YAML.

    A line that cannot be read is reported and repaired, so that mistakes behind it are found in the same turn. Raises LabError("spec")
    with all that was found where the rest cannot be read.
    """
    text, problems = _without_tabs(text, name)
    seen: set[int] = set()
    while True:
        try:
            return _loaded(text, name, problems), problems
        except MarkedYAMLError as error:
            line = _line_of_error(error)
            if line not in seen:  # else a line that was repaired in vain
                problems.append(_syntax_problem(error, text, line, name))
            repaired = None if line in seen or len(seen) >= MAX_REPAIRS else _repaired(text, line, error)
            if repaired is None:
                raise LabError("spec", problems) from error
            seen.add(line)
            text = repaired
        except ReusedAnchorWarning as error:
            found = "an anchor (&name) is defined twice"
            raise LabError("spec", [*problems, Problem(found, "each anchor defined once", "rename one", name)]) from error
        except TypeError as error:  # a list or a mapping as a key
            found = "a key is a list or a mapping"
            raise LabError(
                "spec", [*problems, Problem(found, "keys that are words", "put it in quotes if it is meant as text", name)]
            ) from error
        except (YAMLError, RecursionError, ValueError) as error:
            found = str(error).strip().split("\n")[0][:120] or "nested too deeply"
            raise LabError("spec", [*problems, Problem(f"not valid YAML: {found}", "a study", where=name)]) from error


def _loaded(text: str, name: str, problems: list[Problem]) -> CommentedMap:
    """Return the tree; keys that stand twice become problems, and the first of each holds."""
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = True
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReusedAnchorWarning)
        doubled = list(_doubled_keys(YAML(typ="rt").compose(text), name))
        tree = yaml.load(text)
    if not isinstance(tree, CommentedMap):
        found, expected = "the file contains no `key: value` pairs", "a study; the README has a short one"
        raise LabError("spec", [*problems, Problem(found, expected, where=name)])
    problems.extend(doubled)
    return tree


def _doubled_keys(node: Node | None, name: str) -> Iterator[Problem]:
    waiting, seen = [node], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            waiting += [value for _, value in node.value]
            first: dict[str, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                if isinstance(key.value, str) and key.value in first:
                    found = f"the key `{key.value}` appears twice, here and on line {first[key.value]}"
                    yield Problem(found, "each key once", "rename or delete one", f"{name}, line {line}")
                elif isinstance(key.value, str):
                    first[key.value] = line


def _without_tabs(text: str, name: str) -> tuple[str, list[Problem]]:
    """Return the text with tabs at the beginnings of its lines replaced, and the problem that they are."""
    lines = text.split("\n")
    tabbed = [number for number, line in enumerate(lines) if "\t" in line[: len(line) - len(line.lstrip())] and line.strip()]
    if not tabbed:
        return text, []
    for number in tabbed:
        start = len(lines[number]) - len(lines[number].lstrip())
        lines[number] = lines[number][:start].expandtabs(2) + lines[number][start:]
    where = f"{name}, line {tabbed[0] + 1}"
    more = f" (and {len(tabbed) - 1} more lines)" if len(tabbed) > 1 else ""
    return "\n".join(lines), [
        Problem(f"the line is indented with a tab{more}", "spaces: YAML does not allow tabs there", "replace them", where)
    ]


def _line_of_error(error: MarkedYAMLError) -> int:
    """Return the line (from 1) that a person should look at: where an unclosed quote begins, else where reading stopped."""
    mark = error.problem_mark or error.context_mark
    if "end of stream" in str(error.problem) and error.context_mark is not None:
        mark = error.context_mark
    return mark.line + 1 if mark is not None else 1


def _syntax_problem(error: MarkedYAMLError, text: str, line: int, name: str) -> Problem:
    said = f"{error.context or ''} {error.problem or ''}"
    lines = text.split("\n")
    shown = lines[line - 1].strip()[:100] if line <= len(lines) else ""
    found, do = next(
        ((found, do) for words, found, do in SYNTAX if words in said), ("YAML cannot read this line", "look at the lines around it")
    )
    if letter := _START.search(said):
        found, do = f"a text that starts with `{letter[1]}`", QUOTE
    return Problem(f"not valid YAML: {found}: {shown}", "", do, f"{name}, line {line}")


def _repaired(text: str, line: int, error: MarkedYAMLError) -> str | None:
    """Return the text with a line that can be read; None where no repair is known."""
    if "escape" not in f"{error.context or ''} {error.problem or ''}":
        return _quoted(text, line)
    lines = text.split("\n")
    lines[line - 1] = _DOUBLE_QUOTED.sub(lambda found: re.sub(r"\\(?![\"\\])", r"\\\\", found.group()), lines[line - 1])
    return "\n".join(lines)


def _quoted(text: str, line: int) -> str | None:
    """Return the text with the value of a `key: value` line in quotes; None for a line that is none, or in braces and brackets."""
    lines = text.split("\n")
    match = _LINE.match(lines[line - 1]) if line <= len(lines) else None
    if match is None or (match[2][0] in "{[" and match[2][-1] in "}]"):
        return None
    lines[line - 1] = match[1] + json.dumps(match[2])
    return "\n".join(lines)


# --- values -------------------------------------------------------------------------------------------------------------


def plain(value: Any, name: str) -> Any:
    """Return ruamel's containers and scalars as plain Python values; raises LabError("spec") for a tree too deep or too large."""
    left = [MAX_VALUES]

    def simple(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise lab_error(
                "spec", "the file is nested too deeply or repeats too much", "a study with a few levels of keys and lists", where=name
            )
        if isinstance(value, dict):
            return {str(key): simple(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [simple(item, depth + 1) for item in value]
        return _scalar(value)

    return simple(value, 0)


def _scalar(value: Any) -> Any:
    if isinstance(value, TaggedScalar):
        return str(value.value)
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), value)


def line_of(tree: CommentedBase, location: Location) -> int:
    """Return the line (from 1) of the deepest part of ``location`` that stands in the file."""
    line, node = 1, tree
    for part in location:
        if not isinstance(node, CommentedMap | CommentedSeq):
            break
        try:
            line = (node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part))[0] + 1
            node = node[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return line


def where(tree: CommentedBase, location: Location, name: str) -> str:
    """Return "file, line N" of a location."""
    return f"{name}, line {line_of(tree, location)}"

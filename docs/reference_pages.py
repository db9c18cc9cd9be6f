"""Reference pages out of the package's own tables: the study file from its models, the instruments from their rows, the commands from the
command line; written into a folder that nobody edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NOTE = "<!-- written by docs/reference_pages.py from the package's own tables: edit those -->\n\n"


def write_reference(folder: Path) -> None:
    """Write all reference pages into ``folder``."""
    folder.mkdir(exist_ok=True)
    for name, text in (("study-file", study_page()), ("instruments-table", instruments_page()), ("commands", commands_page())):
        (folder / f"{name}.md").write_text(NOTE + text, encoding="utf-8", newline="\n")


def study_page() -> str:
    """Return the page of the study file: one table a section, a row a field, from the JSON Schema."""
    from loralab.spec import StudySpec

    schema = StudySpec.model_json_schema()
    parts = ["# The study file, field by field\n", "Everything that a study file may say. `loralab schema` prints the same as a JSON Schema for editors.\n"]
    sections = [("A study", schema), *sorted(schema.get("$defs", {}).items())]
    for name, section in sections:
        rows = list(_fields(section))
        if rows:
            parts += [f"## {_title(name)}\n", _first_sentence(section.get("description", "")) + "\n", "| field | takes | default | says |", "|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _fields(section: Mapping[str, Any]) -> Iterator[str]:
    required = set(section.get("required", ()))
    for name, field in section.get("properties", {}).items():
        default = "**needed**" if name in required else _cell(repr(field["default"]).replace("'", '"')) if "default" in field else ""
        yield f"| `{name}` | {_cell(_kind(field))} | {default} | {_cell(field.get('description', ''))} |"


def _kind(field: Mapping[str, Any]) -> str:
    """Return what a field takes, in words."""
    if "$ref" in field:
        return _title(field["$ref"].rsplit("/", 1)[-1])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return " or ".join(dict.fromkeys(_kind(each) for each in field[several] if each.get("type") != "null"))
    if field.get("type") == "array":
        return "list of " + _kind(field.get("items", {})) if field.get("items") else "list"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return "names, each with " + _kind(inner) if isinstance(inner, dict) and inner else "names and values"
    word = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}.get(str(field.get("type")), "any value")
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum", field.get("exclusiveMaximum"))
    bounds = " to ".join(f"{bound:g}" for bound in (low, high) if bound is not None)
    if bounds and high is None:
        bounds = f"from {bounds}" if "minimum" in field else f"above {bounds}"
    return f"{word}, {bounds}" if bounds else word


def instruments_page() -> str:
    """Return the table of instruments from their rows."""
    from loralab.measure import TABLE

    lines = ["# Instruments, row by row\n", "What each is for, its trap and its source: [instruments](../instruments.md).\n"]
    lines += ["| instrument | unit | range | says | smallest object | version |", "|---|---|---|---|---|---|"]
    for name, row in sorted(TABLE.items()):
        smallest = f"{row.smallest_object_px} px" if row.smallest_object_px else ""
        lines.append(f"| `{name}` | {row.unit} | {_bound(row.low)} to {_bound(row.high)} | {_cell(row.says)} | {smallest} | {row.version} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return every command with its arguments and options, from the command line's own description."""
    import typer

    from loralab.cli import app

    group = typer.main.get_command(app)
    parts = ["# Commands\n", f"{_cell(group.help or '')}\n"]
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        parts += [f"## loralab {name}\n", f"{_cell(command.help or '')}\n", "| option | says | default |", "|---|---|---|"]
        for option in command.params:
            names = ", ".join(f"`{each}`" for each in [*option.opts, *option.secondary_opts]) if option.param_type_name == "option" else f"`{(option.metavar or option.name or '').strip()}`"
            default = "" if option.default in (None, False, ()) or callable(option.default) else f"`{option.default}`"
            parts.append(f"| {names} | {_cell(getattr(option, 'help', '') or '')} | {default} |")
        parts.append("")
    return "\n".join(parts)


def _bound(value: float) -> str:
    return "any" if abs(value) == float("inf") else f"{value:g}"


def _title(name: str) -> str:
    return name.removesuffix("Spec").removesuffix("Data") + (" data" if name.endswith("Data") else "") if name else name


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())

"""Keeps a picture of the bench as a question: a study's text and a cell in, the text with the cell in it out, and its file.

What an arm of a study drew goes into a copy of that study in the lab's folder `bench`, under the study's own name: run from there it finds
all that was trained, and what was asked after the first run is called an afterthought, as everywhere. A LoRA file becomes an arm of a study
called `bench`.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from loralab.errors import lab_error
from loralab.spec import Cell
from loralab.spec.load import draft_text
from loralab.store import write_atomically
from loralab.viewing.asked import KeepAsked

FOLDER = "bench"
NAME = re.compile(r"[^a-z0-9]+")


def keep(lab: Path, asked: KeepAsked, base: str) -> dict[str, Any]:
    """Return the file that was written, its text, the lines that are new, and what is still wrong with it; raises LabError("spec")."""
    name = "bench" if asked.chosen.file else asked.chosen.study
    file = lab / FOLDER / f"{name}.yaml"
    text = file.read_text(encoding="utf-8") if file.is_file() else _begun(lab, asked, base)
    after = with_question(text, asked)
    write_atomically(file, after.encode())
    draft = draft_text(after, file.parent, None, name=file.name)
    return {
        "file": file.relative_to(lab).as_posix(), "run": f"loralab run {file}", "yaml": after,
        "added": "\n".join(_added(text, after)), "problems": [str(problem) for problem in draft.problems],
    }  # fmt: skip


def with_question(text: str, asked: KeepAsked) -> str:
    """Return the study's text with the picture in it: what is new is put between the user's own lines wherever these are plain enough."""
    yaml = yaml_like(text)
    before, tree = yaml.load(text), yaml.load(text)
    arm = _arm_of_file(tree, asked) if asked.chosen.file else asked.chosen.arm
    cell = Cell(arm, asked.prompt, asked.strength, asked.chosen.step)
    add_cell(tree, cell, asked)
    if tree == before:
        return text
    dumped = _dumped(yaml, tree)
    inserted = _between_lines(text, before, tree, cell)
    return inserted if inserted and _same(inserted, tree) else dumped


def _same(text: str, tree: Any) -> bool:
    try:
        return bool(YAML().load(text) == tree)
    except YAMLError:
        return False


def _between_lines(text: str, before: Any, after: Any, cell: Cell) -> str:
    """Return the text with the new lines put in where one experiment is new, or shows more; "" where more than that has changed."""
    if any(before.get(key) != after[key] for key in after if key != "experiments") or not before["experiments"]:
        return ""
    old, new = before["experiments"], after["experiments"]
    (name,) = [name for name in new if name not in old or old[name] != new[name]]
    lines = text.splitlines()
    if name not in old:
        first_line, column = old.lc.key(next(iter(old)))
        block = _dumped(_block_yaml(), {name: new[name]}).splitlines()
        following = (k for k in range(first_line, len(lines)) if lines[k][:1].strip() and not lines[k].startswith("#"))
        at = next(following, len(lines))
        while at > 0 and not lines[at - 1].strip():
            at -= 1
        return _put(lines, at, ["", *(" " * column + line for line in block)])
    entry = old[name]
    if "show" not in entry and "claims" in entry:
        line, column = entry.lc.key("claims")
        return _put(lines, line, [" " * column + "show:", " " * column + f"  - {_quoted(cell)}"])
    if entry.get("show"):
        line, column = entry["show"].lc.item(0)
        return _put(lines, line, [" " * (column - 2) + f"- {_quoted(cell)}"])
    return ""


def _put(lines: list[str], at: int, new: list[str]) -> str:
    return "\n".join([*lines[:at], *new, *lines[at:]]) + "\n"


def _quoted(cell: Cell) -> str:
    return _dumped(_block_yaml(), [DoubleQuotedScalarString(str(cell))]).strip().removeprefix("- ")


def _block_yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def yaml_like(text: str) -> YAML:
    """Return what writes a file in the manner of ``text``: comments and quotes stay, and lists are set in as most of them are there."""
    candidates = []
    for sequence, offset in ((4, 2), (2, 0)):
        yaml = YAML()
        yaml.width, yaml.preserve_quotes = 4096, True
        yaml.indent(mapping=2, sequence=sequence, offset=offset)
        candidates.append(yaml)
    return min(candidates, key=lambda yaml: len(list(_added(text, _dumped(yaml, yaml.load(text))))))


def _dumped(yaml: YAML, tree: Any) -> str:
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _begun(lab: Path, asked: KeepAsked, base: str) -> str:
    if asked.chosen.file:
        return f"study: bench\nabout: What was kept from the bench.\nbase: {base}\n\ndata: {{}}\narms: {{}}\nexperiments: {{}}\n"
    file = lab / "studies" / asked.chosen.study / "study.yaml"
    if asked.chosen.study not in {folder.name for folder in (lab / "studies").glob("*")} or not file.is_file():
        raise lab_error("spec", f"this lab has no study {asked.chosen.study!r}", "a study that was run here")
    return file.read_text(encoding="utf-8")


def _arm_of_file(tree: MutableMapping[str, Any], asked: KeepAsked) -> str:
    """Return the name of the arm that stands for a LoRA file, behind adding it and its training set where they are not there yet."""
    if not asked.dataset:
        raise lab_error(
            "spec",
            "a LoRA file without its training set",
            "the folder of its pictures",
            "a study compares pictures with what the LoRA was trained on",
        )
    for name, arm in tree["arms"].items():
        if arm.get("adapters") == asked.chosen.file:
            return str(name)
    name = _free(NAME.sub("-", asked.chosen.label.lower()).strip("-")[:30] or "lora", tree["arms"])
    tree["data"][name] = {"folder": asked.dataset}
    tree["arms"][name] = {"data": name, "adapters": asked.chosen.file}
    return name


def add_cell(tree: MutableMapping[str, Any], cell: Cell, asked: KeepAsked) -> None:
    """Put the cell into the study: among what an experiment shows, or as the claim of an experiment of its own."""
    experiments = tree["experiments"]
    written = DoubleQuotedScalarString(str(cell))
    if asked.claim is None and (found := _about(experiments, str(cell.arm))):
        shown = experiments[found].setdefault("show", [])
        if str(cell) not in map(str, shown):
            shown.insert(0, written)
        return
    claim = asked.claim
    say, measure, expect = (claim.say, claim.measure, claim.expect) if claim else (f"{cell.arm} changes its pictures", "change", "higher")
    entry = {"say": say, "measure": measure, "cell": written, "expect": expect, "anyway": True}
    experiments[_free("bench", experiments)] = {"question": f"From the bench: {say}?", "claims": [entry]}


def _about(experiments: MutableMapping[str, Any], arm: str) -> str:
    """Return the experiment that speaks of an arm, else the first; "" where there is none."""
    speaking = (name for name, entry in experiments.items() if any(_arm_in(claim) == arm for claim in entry.get("claims") or ()))
    return str(next(speaking, next(iter(experiments), "")))


def _arm_in(claim: MutableMapping[str, Any]) -> str:
    return str(claim.get("cell", "")).split("@")[0].strip().removeprefix("arm ")


def _free(name: str, taken: MutableMapping[str, Any]) -> str:
    numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, len(taken) + 2))
    return next(free for free in numbered if free not in taken)


def _added(before: str, after: str) -> Iterator[str]:
    yield from (line[2:] for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith("+ "))

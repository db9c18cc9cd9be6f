"""Writes the explorer: `Explored` in; explore.html and a folder of picture sheets beside it out.

The page needs no server and asks nothing of any network: its data stand in it, and sheets are fetched from the folder as they are
looked at. The content security policy allows the page's own script by its hash, what that script loads from the folder, and
pictures handed over as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.portable import replace_folder
from loralab.report.explorer.records import Explored, Shown
from loralab.report.explorer.sheets import COLUMNS, LARGE_PX, is_large, made_larger, make_sheet, side_of, write_script

PAGE, FOLDER = "explore.html", "explore"
#: a sheet holds one training's pictures of one prompt; where there are more of them, they are cut into sheets of so many
MOST_ON_A_SHEET = 64


def write_explorer(explored: Explored, folder: Path) -> Path:
    """Return the page's path, behind writing it and its sheets into ``folder``; an older explorer there is replaced.

    Raises ValueError where there is no picture to show.
    """
    if not explored.pictures:
        raise ValueError("an explorer needs at least one picture")
    scratch = folder / f".{FOLDER}.part"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    page = render_explorer(explored, list(_write_sheets(explored, scratch)))
    replace_folder(scratch, folder / FOLDER)
    path = folder / PAGE
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def render_explorer(explored: Explored, places: Sequence[tuple[str, int, bool]]) -> str:
    """Return the page as text; ``places`` are (sheet, position on it, is there a larger one) of each picture, in order."""
    script, css = _source("explore.js"), _source("explore.css")
    environment = Environment(
        loader=PackageLoader("loralab.report.explorer", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("explore.html.j2").render(
        explored=explored, css=Markup(css), script=Markup(script), policy=policy_of(script, css),
        data=Markup(_safe_json(data_of(explored, places))),
    )  # fmt: skip


def policy_of(script: str, css: str) -> str:
    """Return the content security policy: this script, what it loads itself, this style sheet, pictures as text, and nothing else."""
    return (
        f"default-src 'none'; img-src data: blob:; style-src '{_digest(css)}'; script-src '{_digest(script)}' 'strict-dynamic'; "
        "base-uri 'none'; form-action 'none'"
    )


def data_of(explored: Explored, places: Sequence[tuple[str, int, bool]]) -> dict[str, Any]:
    """Return what the page's script reads: tables of names, and one row a picture that points into them."""
    arms, prompts = _names(p.arm for p in explored.pictures), _names(p.prompt for p in explored.pictures)
    bases = _names(p.base for p in explored.pictures)
    sheets, measures = _names(sheet for sheet, *_ in places), _names(m for p in explored.pictures for m in p.readings)
    rows = [
        [
            arms.index(p.arm), prompts.index(p.prompt), p.training, p.seed, p.strength, p.step, bases.index(p.base), sheets.index(sheet),
            position, int(large), [_rounded(p.readings.get(measure)) if measure in p.readings else "" for measure in measures],
        ]
        for p, (sheet, position, large) in zip(explored.pictures, places, strict=True)
    ]  # fmt: skip
    claims = [
        {"key": c.key, "question": c.question, "say": c.say, "outcome": c.outcome, "kind": c.kind, "measure": c.measure, "cells": c.cells}
        for c in explored.claims
    ]
    return {
        "study": explored.study, "base": explored.base, "arms": arms, "prompts": prompts, "bases": bases, "sheets": sheets,
        "measures": measures, "units": [explored.units.get(measure, "") for measure in measures], "columns": COLUMNS, "largePx": LARGE_PX,
        "rows": rows, "claims": claims, "training": _training_places(explored),
        "captions": {arm: list(captions) for arm, captions in explored.captions.items()},
    }  # fmt: skip


def _training_places(explored: Explored) -> dict[str, dict[str, Any]]:
    return {arm: {"sheet": f"t{number}", "n": len(pictures)} for number, (arm, pictures) in enumerate(sorted(explored.training.items()))}


def _write_sheets(explored: Explored, folder: Path) -> Iterator[tuple[str, int, bool]]:
    """Write all sheets and yield each picture's place; neighbours of one training and prompt share a sheet."""
    for number, (_, pictures) in enumerate(sorted(explored.training.items())):
        side = side_of(pictures)
        write_script(make_sheet(pictures, side), folder / f"t{number}.js", f"t{number}", side)
    sheet = 0
    for _, neighbours in groupby(explored.pictures, key=_home):
        together = list(neighbours)
        for start in range(0, len(together), MOST_ON_A_SHEET):
            part = together[start : start + MOST_ON_A_SHEET]
            name, paths = f"s{sheet}", [shown.file for shown in part]
            side = side_of(paths)
            write_script(make_sheet(paths, side), folder / f"{name}.js", name, side)
            large = is_large(paths[0])
            for position, path in enumerate(paths):
                if large:
                    write_script(made_larger(path), folder / f"{name}-{position}.js", f"{name}-{position}", 0)
                yield name, position, large
            sheet += 1


def _home(shown: Shown) -> tuple[str, str, int, float, int | None]:
    return shown.arm, shown.prompt, shown.training, shown.strength, shown.step


def _names(found: Any) -> list[str]:
    return list(dict.fromkeys(found))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _source(name: str) -> str:
    return files("loralab.report.explorer").joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _safe_json(value: Any) -> str:
    """Return JSON that cannot end the element it stands in, whatever a prompt says."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")

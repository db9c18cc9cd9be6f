"""The atlas' results: finished studies of labs in; docs/results/atlas.json, docs/atlas.md and a strip of pictures a belief out.

python -m organism.atlas make --lab LAB           runs what the lab has not finished (`loralab atlas --run all`), then gathers
python -m organism.atlas gather --lab LAB ...     takes what the labs have, keeps the other rows, and writes all anew
python -m organism.atlas page                     writes the page from the data as they are
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loralab.atlas.beliefs import BELIEF, Belief, all_beliefs
from loralab.atlas.outcome import VERSION, Row, against, rows_in
from loralab.report.sections.experiments import sections_of
from loralab.report.summary import make_sheet
from loralab.store import write_atomically
from loralab.study.result import load_result
from organism.atlas_page import write_page
from organism.rests_on import ROOT, hash_of
from organism.results import UNKNOWN

DATA = ROOT / "docs" / "results" / "atlas.json"
STRIPS = ROOT / "docs" / "results" / "atlas"
PAGE = ROOT / "docs" / "atlas.md"
RESTS = ("weights", "instruments", "rule", "atlas")


def read_document(file: Path = DATA) -> dict[str, Any]:
    """Return the data as they ship; without a row where nothing was run."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {"beliefs": []}


def gathered(document: Mapping[str, Any], labs: Sequence[Path], beliefs: Sequence[Belief]) -> dict[str, Any]:
    """Return the document with what the labs have in the place of older rows; a later lab before an earlier one."""
    rows: dict[str, Row] = {row["name"]: row for row in document["beliefs"]}
    for lab in labs:
        for name, row in rows_in(lab, beliefs).items():
            kept = rows.get(name, {}).get("twice") if row["twice"] is None else None
            rows[name] = row if kept is None else {**row, "twice": kept}
    ordered = [rows[belief.name] for belief in beliefs if belief.name in rows]
    return {"version": VERSION, "rests_on": rests_on(ordered), "beliefs": ordered}


def rests_on(rows: Sequence[Row]) -> dict[str, str]:
    """Return the hashes of what all rows rest on; of no row, and of weights that differ from row to row, nothing is known."""
    weights = {each["base_sha256"][:12] for row in rows for each in (row, row.get("twice")) if each is not None}
    told = {name: hash_of(name) if rows else UNKNOWN for name in RESTS}
    return told | {"weights": next(iter(weights)) if len(weights) == 1 else UNKNOWN}


def write_strip(lab: Path, row: Row, folder: Path = STRIPS) -> None:
    """Write the first strip of a belief's experiment: the base above the LoRA at the same seeds, the training set above both."""
    result = load_result(lab, row["study"])
    section = next(section for section in sections_of(result, result.verdicts) if section.name == BELIEF)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{row['name']}.png", make_sheet(section.strips[:1]))


def gather(labs: Sequence[Path], data: Path = DATA, strips: Path = STRIPS, page: Path = PAGE) -> dict[str, Any]:
    """Return the document, behind writing it, the strips of what the labs have, and the page."""
    beliefs = all_beliefs()
    document = gathered(read_document(data), labs, beliefs)
    for lab in labs:
        for row in rows_in(lab, beliefs).values():
            write_strip(lab, row, strips)
    write_atomically(data, (json.dumps(document, indent=1) + "\n").encode())
    write_atomically(page, write_page(document, beliefs, strips).encode())
    return document


def waiting(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the beliefs that came out against what is said, and were not asked a second time."""
    return [row["name"] for row in document["beliefs"] if against(row) and row.get("twice") is None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m organism.atlas", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("make", "gather", "page"))
    parser.add_argument("--lab", type=Path, nargs="+", default=[Path("lab")])
    given = parser.parse_args(argv)
    if given.what == "make":
        command = [sys.executable, "-m", "loralab", "atlas", "--run", "all", "--lab", str(given.lab[0])]
        if code := subprocess.run(command, check=False).returncode:
            return code
    document = gather([] if given.what == "page" else given.lab)
    print(f"{len(document['beliefs'])} beliefs in {DATA.relative_to(ROOT)}")
    if again := waiting(document):
        print(f"against what is said, to be asked a second time: loralab atlas --twice --run {','.join(name[:2] for name in again)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The model card's measured tables: in go result files, out comes the card with each table between its markers, none typed by hand.

A result file is Markdown whose first line is a heading; what follows is the table. The card says `<!-- fidelity -->` where the file
`petri-fidelity.md` goes, and `<!-- /fidelity -->` behind it.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from loralab.store import write_atomically

MARKED = re.compile(r"<!-- (?P<name>[a-z-]+) -->\n(?P<old>.*?)<!-- /(?P=name) -->", re.DOTALL)
RESTS = re.compile(r"^Rests on: .*$", re.MULTILINE)  # the last line of a page (`organism.results`), which the card does not need
WEIGHTS = re.compile(r"weights `(?P<hash>[0-9a-f]{12})`")


def write_result(path: Path, title: str, body: str, fingerprint: str, command: str) -> None:
    """Write a result file: heading, where it comes from, table; the fingerprint is "" where no one base was measured."""
    weights = f"; weights `{fingerprint[:12]}`" if fingerprint else ""
    made = f"Made on {date.today().isoformat()} by `{command}`{weights}."
    write_atomically(path, f"# {title}\n\n{made}\n\n{body.strip()}\n".encode())


def fill_card(card: str, results: Path, fingerprint: str) -> str:
    """Return the card with every marked place filled from `results`; a table of other weights is marked as such.

    Where there is no result file, what stands in the place stays, and an empty place says that nothing was measured.
    """

    def fill(match: re.Match[str]) -> str:
        name, path = match["name"], results / f"petri-{match['name']}.md"
        content = _content(path, fingerprint) if path.is_file() else match["old"].strip() or f"Not measured yet (`{path.name}`)."
        return f"<!-- {name} -->\n{content}\n<!-- /{name} -->"

    return MARKED.sub(fill, card)


def _content(path: Path, fingerprint: str) -> str:
    body = RESTS.sub("", path.read_text(encoding="utf-8").split("\n", 1)[1]).strip()
    measured_on = WEIGHTS.search(body)
    if measured_on is not None and measured_on["hash"] != fingerprint[:12]:
        return f"**Measured on other weights than these.**\n\n{body}"
    return body

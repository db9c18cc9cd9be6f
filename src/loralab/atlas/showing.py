"""The atlas on a terminal: the list with what ships and what this lab found, and what became of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loralab.atlas.beliefs import LEFT_OUT, Belief
from loralab.atlas.outcome import ERROR_RATE, WORDS, Row, decided, rulings_of, tally, told

if TYPE_CHECKING:
    from loralab.atlas.running import Answered

COLOURS = {"yes": "green", "no": "red", "in part": "yellow", "open": "yellow", "not measurable": "magenta"}


def listed(beliefs: Sequence[Belief], shipped: Mapping[str, Row], here: Mapping[str, Row], minutes: Mapping[str, float]) -> dict[str, Any]:
    """Return the list as JSON: every belief with what ships of it (petri) and what this lab has of it; null where it was not run."""
    rows = [
        {
            "number": belief.number, "name": belief.name, "belief": belief.says, "said_by": list(belief.said_by),
            "question": belief.question, "minutes_at_most": round(minutes[belief.name], 1), "command": belief.command,
            "left_out": LEFT_OUT.get(belief.number, ""), "petri": shipped.get(belief.name), "here": here.get(belief.name),
        }
        for belief in beliefs
    ]  # fmt: skip
    return {"beliefs": rows}


def print_list(document: Mapping[str, Any], console: Console, as_json: bool) -> None:
    """Print the beliefs with who says them, the question, what came out, and how long it takes."""
    if as_json:
        print(json.dumps(document, indent=1))
        return
    table = Table("", "belief", "on petri", "in this lab", "minutes", show_lines=True)
    for row in document["beliefs"]:
        belief = f"{escape(row['belief'])}\n[dim]{escape(row['question'])}\nsaid by: {escape('; '.join(row['said_by']))}[/]"
        table.add_row(f"{row['number']:02d}", belief, _word(row["petri"]), _word(row["here"]), _minutes(row))
    console.print(table)
    console.print("Run one with `loralab atlas NUMBER`, all with `loralab atlas --run all`; add `--base BASE` for a base of your own.")


def _word(row: Row | None) -> str:
    if row is None:
        return f"[dim]{WORDS['not run']}[/]"
    return f"[{COLOURS[row['verdict']]}]{told(row)}[/]\n[dim]{tally(rulings_of(row))}[/]"


def _minutes(row: Mapping[str, Any]) -> str:
    ran = row["here"] or row["petri"]
    return f"{ran['minutes']:.1f}" if ran is not None else f"at most {row['minutes_at_most']:.0f}"


def sentence_of(answered: Answered, row: Row | None) -> str:
    """Return what became of one belief, in a line."""
    belief = answered.belief
    if row is None:
        return f"{belief.name}: could not be run: {answered.problem}"
    had = " (already in this lab)" if answered.became == "found" else f" ({row['minutes']:.1f} minutes)"
    return f"{belief.name}: {told(row)}: {tally(rulings_of(row))}{had}"


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what may be said of many beliefs together: how many were decided, and how many of these to expect to be false."""
    if rows:
        yield f"Beliefs run: {len(rows)}; decided, at least in part: {sum(map(decided, rows))}."
        yield f"Each is judged with an error rate of {100 * ERROR_RATE:g} %: expect up to {ERROR_RATE * len(rows):.1f} of them to be wrong."

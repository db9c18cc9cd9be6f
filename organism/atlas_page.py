"""The atlas' page: its data and the beliefs in, Markdown out; nothing is said of what was not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loralab.atlas.beliefs import BELIEF, BETWEEN, LEFT_OUT, MARGINS, Belief
from loralab.atlas.outcome import ERROR_RATE, Row, decided, rulings_of, tally, told
from loralab.report.summary import plain
from loralab.report.words import CHIPS, amount, change, unit_of
from organism.results import line_of

HEAD = """# What people believe about LoRA training, put to the test

Much teaching about LoRA training consists of rules that nobody has tested. The atlas takes these beliefs one at a time: for each there is a
short study that ships with loralab, with its claims written before it was run, a placebo, and one set of smallest changes that count. Its
verdict is about petri, the small base that is embedded, and about the words, set and dose of the study. About your own base it says
nothing; for that, run the same study there.

```sh
loralab atlas                          # the list, with what came out here and in your lab
loralab atlas 14                       # ask belief 14 again on petri, at most ten minutes on two cores
loralab atlas 14 --base my.safetensors # ask it of your own base
loralab atlas --run all --json         # all of them, as data that can be compared with docs/results/atlas.json
```

Each study looks at its results after 8, 16 and 32 trainings of each arm and continues only with what is still open ([method](method.md)).
"Yes" means that every claim of the belief holds, "no" that none does, "in part" that at least one was decided. A belief that comes out
against what is said is asked a second time, with another word, another training set and another dose (`--twice`), and is called a "no" only
if that comes out the same. Some beliefs contradict one another, and some are only about one part of what people say; the study files
(`studies/atlas/`) name what they leave out."""


def write_page(document: Mapping[str, Any], beliefs: Sequence[Belief], strips: Path) -> str:
    """Return the page; ``strips`` is the folder of pictures, of which those that are there are shown."""
    rows = {row["name"]: row for row in document["beliefs"]}
    lines = [HEAD, "", *_together(list(rows.values()), len(beliefs)), "", *_table(beliefs, rows), "", *_left_out(), "", *_margins()]
    for belief in beliefs:
        if belief.name in rows:
            lines += ["", *_section(belief, rows[belief.name], strips)]
    return "\n".join([*lines, "", line_of(document["rests_on"]), ""])


def _together(rows: Sequence[Row], n_beliefs: int) -> Iterator[str]:
    """Yield what the verdicts mean together: how many, and how many false ones to expect."""
    yield "## All together"
    yield ""
    if not rows:
        yield f"None of the {n_beliefs} studies has been run on today's petri yet."
        return
    n_decided = sum(decided(row) for row in rows)
    expected = ERROR_RATE * len(rows)
    yield (
        f"Studies run: {len(rows)} of {n_beliefs}; decided, at least in part: {n_decided}. Each belief is judged with an error "
        f"rate of {100 * ERROR_RATE:g} %, shared among its claims and looks: of {len(rows)}, expect up to {expected:.1f} to be decided "
        "wrongly by chance alone. Nothing corrects for asking so many questions. A single surprising row may be one of these, which is "
        "why it is asked twice."
    )


def _table(beliefs: Sequence[Belief], rows: Mapping[str, Row]) -> Iterator[str]:
    yield "| | belief | said by | on petri | claims | minutes | command |"
    yield "|---|---|---|---|---|---|---|"
    for belief in beliefs:
        row = rows.get(belief.name)
        verdict, claims, minutes = ("not run yet", "", "") if row is None else (told(row), tally(rulings_of(row)), f"{row['minutes']:.1f}")
        linked = plain(belief.says) if row is None else f"[{plain(belief.says)}](#belief-{belief.number:02d})"
        yield f"| {belief.number} | {linked} | {plain('; '.join(belief.said_by))} | {verdict} | {claims} | {minutes} | `{belief.command}` |"


def _left_out() -> Iterator[str]:
    yield "## What the studies leave out"
    yield ""
    yield from (f"- {number}: {plain(told)}." for number, told in LEFT_OUT.items())


def _margins() -> Iterator[str]:
    yield "## The smallest changes that count"
    yield ""
    yield "The same in every study, set before any was run, by what 32 trainings can tell apart ([instruments](instruments.md)):"
    yield ""
    told = [f"`{name}` {amount(value, unit_of(name))}" for name, value in MARGINS.items() if name != BETWEEN]
    yield ", ".join(told) + f"; of the scatter among pictures, trainings count if they make up {100 * MARGINS[BETWEEN]:g} %."


def _section(belief: Belief, row: Row, strips: Path) -> Iterator[str]:
    """Yield one belief's section: the question, the claims, the pictures, the second version, the cost, the command."""
    yield f"(belief-{belief.number:02d})="
    yield f"## {belief.number}: {plain(belief.says)}"
    yield ""
    yield f"{plain(belief.question)} On petri: **{told(row)}** ({tally(rulings_of(row))})."
    yield ""
    yield from _claims(row)
    if (strips / f"{row['name']}.png").is_file():
        yield from ("", f"![{plain(belief.question)}](results/atlas/{row['name']}.png)")
    second = row.get("twice")
    if second is not None:
        yield from ("", f"Asked a second time (`{second['command']}`): {tally(rulings_of(second))}.", "", *_claims(second))
    yield ""
    yield f"{row['trainings']} trainings of each arm at most, {row['minutes']:.1f} minutes, `{row['command']}`, {row['made']}."


def _claims(row: Row) -> Iterator[str]:
    """Yield the table of all claims that were written before the run, the belief's own first."""
    yield "| claim | here | change | interval | smallest that counts | trainings |"
    yield "|---|---|---|---|---|---|"
    for claim in sorted((claim for claim in row["claims"] if not claim["exploratory"]), key=lambda claim: claim["experiment"] != BELIEF):
        mark, word = CHIPS[claim["verdict"]]
        unit, known = claim["unit"], claim["effect"] is not None
        effect = f"{change(claim['effect'], unit)} ({claim['measure']})" if known else claim["measure"]
        interval = f"{change(claim['low'], unit)} to {change(claim['high'], unit)}" if known else ""
        margin = "" if claim["margin"] is None else amount(claim["margin"], unit)
        cells = (claim["say"], f"{mark} {word}", effect, interval, margin, str(claim["trainings"] or ""))
        yield "| " + " | ".join(plain(cell) for cell in cells) + " |"

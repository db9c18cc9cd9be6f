"""The article's page: the study's summary, and in front of it what each look decided and when, beside what the earlier rule decided.

python -m organism.article_page LAB/studies/article [--note "what else ran on the machine"]

In: the folder of a finished study, whose ledger has its looks; ``article_before.json`` has the earlier rule's verdicts. Out: Markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from loralab.infer.verdict import Verdict
from loralab.report.summary import plain
from loralab.report.words import CHIPS
from loralab.spec.questions import QuestionId
from loralab.store import read_lines, write_atomically
from loralab.study.judging import judge_result, looks_made
from loralab.study.result import LEDGER_FILE, StudyResult, load_result

BEFORE = Path(__file__).with_name("article_before.json")
DECIDED = ("supported", "contradicted")
#: what was set as a goal: decided within so many minutes, at most so many open without a direction at the end
GOALS = ((15, 5.0), (20, 15.0))
MOST_OPEN = 3


@dataclass(frozen=True)
class Look:
    """A look: trainings of each arm that is open, the questions that waited for it, minutes until its end, and all verdicts then."""

    trainings: int
    asked: int
    minutes: float
    verdicts: Sequence[Verdict]

    def count(self, *rulings: str) -> int:
        """Return how many questions came to one of these verdicts."""
        return sum(verdict.verdict in rulings for verdict in self.verdicts)


def looks_of(result: StudyResult) -> list[Look]:
    """Return the looks that a study's ledger has, each judged by the readings that there were."""
    found, spent = [], 0.0
    for record in looks_made(read_lines(result.folder / LEDGER_FILE), result.loaded.sha256):
        spent += float(record["seconds"]) / 60
        trainings = int(record["trainings"])
        found.append(Look(trainings, int(record["questions"]), spent, judge_result(result, trainings)))
    return found


def section_of(looks: Sequence[Look], before: Mapping[str, Any], note: str = "") -> str:
    """Return the part of the page about what was decided and when."""
    lines = ["## What was decided, and when", "", *_by_look(looks, before), "", *_goals(looks), "", *_by_claim(looks, before["claims"])]
    margins = (
        "The smallest changes that count for the three tags (15 points) and for blur (20 points) were set when readings of them were "
        "already known: the tags' from the study before this one, blur's from the instruments' cards. The other margins are older."
    )
    return "\n".join([*lines, "", margins, *([note] if note else []), ""])


def _by_look(looks: Sequence[Look], before: Mapping[str, Any]) -> Iterator[str]:
    yield "| look | questions asked | minutes until then | decided | direction certain, size not | open | not measured |"
    yield "|---|---|---|---|---|---|---|"
    for look in looks:
        counts = f"{look.count(*DECIDED)} of {len(look.verdicts)} | {look.count('leaning')} | {look.count('open')}"
        yield f"| {look.trainings} trainings | {look.asked} | {look.minutes:.1f} | {counts} | {look.count('not_measurable')} |"
    quick, full = before["quick"], before["full"]
    yield ""
    yield (
        f"The earlier rule, on an earlier run of the study on the same base, decided {quick['decided']} of {quick['questions']} questions "
        f"with {quick['trainings']} LoRAs, and {full['decided']} of {full['questions']} with {full['trainings']} "
        f"({full['minutes']:g} minutes); two of the blur claims were read by instruments that petri does not carry."
    )


def _goals(looks: Sequence[Look]) -> Iterator[str]:
    """Yield what was set as a goal and whether it was reached."""
    for wanted, minutes in GOALS:
        by_then = max((look.count(*DECIDED) for look in looks if look.minutes <= minutes), default=0)
        told = "reached" if by_then >= wanted else f"missed: {by_then}" + ("" if by_then else ", no look had ended by then")
        yield f"- Goal: at least {wanted} decided within {minutes:g} minutes. {told.capitalize()}."
    last = looks[-1]
    told = "Reached" if last.count("open") <= MOST_OPEN else "Missed"
    yield f"- Goal: at most {MOST_OPEN} open without a direction when it stops. {told}: {last.count('open')}."
    yield f"- When it stopped, {last.count(*DECIDED)} were decided, after {last.minutes:.1f} minutes."


def _by_claim(looks: Sequence[Look], before: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield "| claim | here | at | earlier rule: 64 LoRAs, 128 LoRAs |"
    yield "|---|---|---|---|"
    settled: dict[QuestionId, Look] = {}
    for look in looks:
        for verdict in look.verdicts:
            if verdict.verdict in DECIDED:
                settled.setdefault(verdict.question, look)
    for verdict in looks[-1].verdicts:
        when = settled.get(verdict.question)
        at = f"{when.trainings} trainings, {when.minutes:.1f} minutes" if when else "–"
        told = ", ".join(word or "not asked" for word in before.get(verdict.say, ("", "")))
        yield f"| {plain(verdict.say)} | {' '.join(CHIPS[verdict.verdict])} | {at} | {told} |"


def main(argv: Sequence[str] | None = None) -> None:
    """Write docs/results/article.md and its pictures."""
    from organism.results import FOLDER, copy_summary

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="LAB/studies/article")
    parser.add_argument("--note", default="", help="a sentence about the run, for instance what else the machine did")
    given = parser.parse_args(argv)
    looks = looks_of(load_result(given.study.parents[1], given.study.name))
    section = section_of(looks, json.loads(BEFORE.read_text(encoding="utf-8")), given.note)
    page = FOLDER / f"{given.study.name}.md"
    copy_summary(given.study / "summary", page, section)
    as_webp(page)


def as_webp(page: Path) -> None:
    """Write the pictures of a page as WebP without loss, two thirds of their size as PNG, and refer to them so."""
    for picture in sorted(page.with_suffix("").glob("*.png")):
        with Image.open(picture) as image:
            image.save(picture.with_suffix(".webp"), lossless=True, quality=100, method=6)
        picture.unlink()
    text = page.read_text(encoding="utf-8").replace(".png)", ".webp)")
    write_atomically(page, text.encode())


if __name__ == "__main__":
    main()

"""False alarms, detections and coverage on real trainings: many small studies on petri in which the truth is known.

    python benchmarks/aa_real.py OUT.jsonl                               # 300 A/A studies and 60 planted ones; the same command goes on
    python benchmarks/aa_real.py OUT.jsonl --minutes 20                  # begins nothing new after 20 minutes
    python benchmarks/aa_real.py OUT.jsonl --summary --markdown docs/results/false-alarms.md

Three suites take turns:
  same      two arms of the same treatment (coloured shapes under one tag) that differ in their random streams alone: A/A
  placebo   two placebos (trained on the base's own pictures) that differ in their random streams alone: A/A
  planted   red squares under a word against a placebo: the word must turn red, and come nearer to the squares

A study has trainings of its own, with image seeds of its own: no training serves in two studies, so studies are independent given the
base and what is known of it (512 further pictures, once for all). Each goes through the lab's own rule (`judge`) as one study of two
experiments with eight claims each: arm a against arm b; and the whole rule of "learned", a against the base with b as its placebo. It is
looked at after 8 and after 16 trainings. In an A/A study every claim that is found is a false alarm. The claims of a study read the same
pictures and are not independent: the count of studies with any false alarm is the honest one, with Clopper and Pearson's bounds.
Instruments are taken without a bias, which would only widen their intervals. The number of studies is fixed beforehand and never
extended because of what came out. A study is written as soon as it is judged; a line that was cut off is made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from aa_judging import NEXT_TO_NOTHING, effects_of, judged, known_of
from aa_studies import (
    BRIEF,
    DRAW,
    KNOWN,
    LOOKS,
    MARGINS,
    MEASURES,
    MOST_RUNS,
    OWN_PROMPTS,
    PLANTED,
    ROOT_SEED,
    STACK,
    SUITES,
    known_values,
    make_sets,
    read_studies,
)
from aa_summary import page, summary

from loralab.bases import Base, load_base
from loralab.spec.slices import slice_of

RULE = 3  # 1: Student over trainings; 2: moderated variances, one look; 3: known base means, two looks
#: whose turn it is, over and over: of 6 stacks, 5 hold an A/A study each and one two planted ones
TURNS = ("same", "placebo", "same", "placebo", "planted")
STACKS = 375  # 150 and 150 A/A studies, and 75 stacks of two planted ones, of which the first 30 are made
PLANTED_STACKS = 30


def settings() -> str:
    """Return a hash of all that makes two results comparable."""
    suites = [[suite.ours, suite.theirs, slice_of(suite.recipe), suite.runs] for suite in SUITES.values()]
    told = [suites, slice_of(DRAW), STACK, KNOWN, MOST_RUNS, dict(MARGINS), PLANTED, OWN_PROMPTS, LOOKS, NEXT_TO_NOTHING]
    return hashlib.sha256(json.dumps([told, ROOT_SEED, RULE, slice_of(BRIEF)]).encode()).hexdigest()[:12]


def settings_of(out: Path) -> str:
    """Return the settings of the last study that ``out`` holds; "" where it holds none."""
    lines = out.read_text(encoding="utf-8").split("\n")[:-1] if out.is_file() else []
    return str(json.loads(lines[-1])["settings"]) if lines else ""


def load_records(out: Path, wanted: str, mend: bool = True) -> list[dict[str, Any]]:
    """Return the studies of the settings ``wanted`` that ``out`` holds; ``mend``: a last line that was cut off is taken off the file."""
    if not out.is_file():
        return []
    text = out.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        if mend:
            out.write_text(text, encoding="utf-8", newline="\n")
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["settings"] == wanted]


def turns(n_stacks: int = STACKS) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (suite, indices) of each stack; an index belongs to one suite for ever, so that nothing shares trainings or seeds."""
    index = planted = 0
    for turn in range(n_stacks):
        name = TURNS[turn % len(TURNS)]
        planted += name == "planted"
        if name == "planted" and planted > PLANTED_STACKS:
            continue
        n_studies = STACK // (2 * SUITES[name].runs)
        yield name, tuple(range(index, index + n_studies))
        index += n_studies


def known_values_kept(file: Path, base: Base, sets: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return the readings of the base's further pictures, drawn once and kept beside the records."""
    if file.is_file() and (told := json.loads(file.read_text(encoding="utf-8")))["settings"] == [settings(), base.fingerprint]:
        return told["known"]  # type: ignore[no-any-return]
    known = known_values(base, sets)
    file.write_text(json.dumps({"settings": [settings(), base.fingerprint], "known": known}), encoding="utf-8", newline="\n")
    return known


def run_missing(out: Path, records: Sequence[Mapping[str, Any]], suites: Sequence[str], minutes: float) -> Iterator[dict[str, Any]]:
    """Yield the studies that were missing, each written to ``out`` as soon as it is judged."""
    done = {(record["suite"], record["index"]) for record in records}
    missing = [(name, studies) for name, studies in turns() if name in suites and any((name, i) not in done for i in studies)]
    if not missing:
        return
    base, began = load_base("petri"), time.perf_counter()
    sets = make_sets(base)
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {name: known_of(own) for name, own in known_values_kept(out.with_suffix(".known.json"), base, sets).items()}
    for count, (name, studies) in enumerate(missing, start=1):
        if time.perf_counter() - began > 60 * minutes:
            return
        before = time.process_time()
        expect = PLANTED if name == "planted" else {}
        for index, readings in read_studies(
            base, sets, SUITES[name], studies
        ):  # the stack is whole, so that what goes on equals what was not cut off
            if (name, index) not in done:
                record = {
                    "suite": name, "index": index, "settings": settings(), "base": base.fingerprint,
                    "looks": judged(readings, known[name], expect),
                    "effects": {measure: {arm: effects_of(readings, measure, arm) for arm in ("a", "b")} for measure in MEASURES},
                }  # fmt: skip
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                yield record
        spent = time.process_time() - before
        print(
            f"{count} of {len(missing)}: {name} {studies}, {spent:.1f} s of a core, {(time.perf_counter() - began) / 60:.1f} min",
            flush=True,
        )


def main() -> None:
    """Run what is missing, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so many minutes")
    parser.add_argument("--threads", type=int, help="threads of torch; default: as many as it takes")
    parser.add_argument("--summary", action="store_true", help="print what is there; run nothing")
    parser.add_argument("--markdown", type=Path, help="also write the result to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    chosen = settings_of(given.out) if given.summary else settings()  # a summary tells what is there, made by whatever version
    records = load_records(given.out, chosen, mend=not given.summary)  # somebody may be writing it
    if given.summary and not records:
        parser.error(f"there are no studies in {given.out}")
    if not given.summary:
        records += list(run_missing(given.out, records, given.suites, given.minutes))
    print("\n".join(summary(records)))
    if given.markdown and records:
        wanted = {name: sum(len(studies) for told, studies in turns() if told == name) for name in SUITES}
        text = page(records, chosen, str(records[0]["base"])[:12], wanted)
        given.markdown.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""From a study's result to its verdicts: names the instruments' facts and control cells that `infer` needs, and writes what was judged."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from loralab.infer.judge import InstrumentFacts, OwnBases, judge
from loralab.infer.known import BaseKnown
from loralab.infer.rounds import decided_before, state_of
from loralab.infer.verdict import Verdict
from loralab.measure import TABLE, Card
from loralab.petri.base_means import shipped_means
from loralab.spec import BASE, BaseSource, base_of
from loralab.spec.load import preset_of
from loralab.spec.questions import QuestionId, is_exploratory, version_of
from loralab.store import append_line, read_lines, write_atomically
from loralab.study.measures import card_name, plain_measure, qualified_experiments, study_measures
from loralab.study.result import LEDGER_FILE, VERDICTS_FILE, StudyResult

GATE_CODES = {"supported": 0, "contradicted": 10, "leaning": 11, "open": 11, "not_measurable": 12}


def judge_result(result: StudyResult, last_look: int | None = None) -> list[Verdict]:
    """Return the verdict on every claim and curve of the study, in the order of the file.

    Of a study in rounds every look (up to that of ``last_look`` trainings) is judged in turn, by the readings that there were: what a look
    answered or gave up stays as it was.
    """
    made = looks_made(read_lines(result.folder / LEDGER_FILE), result.loaded.sha256)
    made = [record for record in made if last_look is None or record["trainings"] <= last_look]
    if not made:
        return _judged(result, result.readings, Counter(planned.arm for planned in result.plan.runs))
    settled: dict[QuestionId, Verdict] = {}
    verdicts: list[Verdict] = []
    for n_runs in (int(record["trainings"]) for record in made):
        planned = {arm: min(n, n_runs) for arm, n in Counter(run.arm for run in result.plan.runs).items()}
        readings = result.readings.filter(pl.col("replicate") < n_runs)
        verdicts = decided_before(_judged(result, readings, planned), settled)
        settled |= {verdict.question: verdict for verdict in verdicts if state_of(verdict) != "open"}
    return verdicts


def gate_code(verdicts: Sequence[Verdict]) -> int:
    """Return the exit code for `--gate`: the worst verdict's on what was asked before the first run, 0 if all is as claimed."""
    return max((GATE_CODES[verdict.verdict] for verdict in verdicts if not verdict.exploratory), default=0)


def looks_made(records: Sequence[Mapping[str, Any]], sha256: str) -> list[Mapping[str, Any]]:
    """Return the looks at a study that its ledger records, rising; none of a study that is judged once."""
    made = [record for record in records if record.get("event") == "look" and record["study_sha256"] == sha256]
    return sorted(made, key=lambda record: int(record["trainings"]))


def _judged(result: StudyResult, readings: pl.DataFrame, planned: Mapping[str, int]) -> list[Verdict]:
    spec, plan = result.spec, result.plan
    facts = {base: instrument_facts(study_measures(spec, base), cards) for base, cards in result.cards.items()}
    own = OwnBases({name: base_of(spec, name) for name in spec.arms}, facts)
    verdicts = judge(
        qualified_experiments(spec), readings, training=result.training, instruments=facts.get(BASE, {}), controls=plan.controls,
        curves=plan.curves, effects=plan.effects, alpha=preset_of(result.loaded).alpha, own=own, known=known_of(result), planned=planned,
        minutes=minutes_a_training(result),
    )  # fmt: skip
    return [_labelled(result, verdict) for verdict in verdicts]


def minutes_a_training(result: StudyResult) -> dict[str, float]:
    """Return what one more training of each arm takes on the machine that ran the study, drawing and measuring included.

    The ledger has what was drawn and how long that took, training included, so that a picture costs the same whenever the report is made
    again; an arm's share is that of its pictures. Empty where nothing was noted: a lab of an earlier version.
    """
    noted = [record for record in read_lines(result.folder / LEDGER_FILE) if record.get("event") in ("look", "drawn")]
    spent = [record for record in noted if record["study_sha256"] == result.loaded.sha256 and record.get("pictures")]
    if not spent:
        return {}
    a_picture = sum(float(record["seconds"]) for record in spent) / sum(int(record["pictures"]) for record in spent) / 60
    first = [block for block in result.plan.blocks if block.replicate == 0 and block.adapter is not None]
    pictures = Counter[str]()
    for block in first:
        pictures[str(block.who)] += len(block.seeds)
    return {arm: a_picture * n for arm, n in pictures.items()}


def note_drawn(result: StudyResult, seconds: float) -> None:
    """Write into the ledger what all of a study that is judged once took, where it is not there: the first time says what it takes."""
    records = read_lines(result.folder / LEDGER_FILE)
    if not any(r.get("event") == "drawn" and r["study_sha256"] == result.loaded.sha256 for r in records):
        append_line(result.folder / LEDGER_FILE, {
            "event": "drawn", "study_sha256": result.loaded.sha256, "seconds": round(seconds, 1), "pictures": result.plan.n_images,
        })  # fmt: skip


def known_of(result: StudyResult) -> dict[tuple[BaseSource, str, str], BaseKnown]:
    """Return what ships of petri's own pictures, where the study draws as they were drawn and its instruments are those that read them."""
    found = {}
    for source, base in result.bases.items():
        for (prompt, measure), told in shipped_means(base.fingerprint, result.spec.sample).items():
            if TABLE[plain_measure(measure)].version == told.version:
                found[source, prompt, measure] = BaseKnown(told.mean, told.variance, told.n)
    return found


def _labelled(result: StudyResult, verdict: Verdict) -> Verdict:
    """Return the verdict, called exploratory where its question was added after the first run."""
    fingerprint = result.loaded.questions.get(verdict.question)
    return verdict if fingerprint is None else replace(verdict, exploratory=is_exploratory(fingerprint, result.records))


def save_verdicts(result: StudyResult, verdicts: Sequence[Verdict]) -> None:
    """Write `verdicts.json` into the study's folder."""
    loaded = result.loaded
    version = version_of(result.records, loaded.sha256, result.bases_sha256)
    document = {"study": result.spec.study, "study_sha256": loaded.sha256, "preset": loaded.preset or "none", "version": version}
    text = json.dumps({**document, "verdicts": [verdict.to_json() for verdict in verdicts]}, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(result.folder / VERDICTS_FILE, (text + "\n").encode())


def without_minutes(text: bytes) -> bytes:
    """Return the bytes of `verdicts.json` without what further trainings would take on this machine: the rest is the same on each."""
    return re.sub(rb'"more_minutes": [^,]*|, [0-9.]+ (minute|hour)s?\b', b"", text)


def instrument_facts(measures: Sequence[str], cards: Mapping[str, Card]) -> dict[str, InstrumentFacts]:
    """Return what the finding rule needs to know of each instrument: its kind and range, and its card's figures."""
    facts = {}
    for measure in measures:
        instrument, card = TABLE[plain_measure(measure)], cards[card_name(measure)]
        facts[measure] = InstrumentFacts(
            name=measure, kind=instrument.kind, low=instrument.low, high=instrument.high, unit=instrument.unit,
            bias=card.bias, error=card.error, carried=card.carried, note=card.note,
        )  # fmt: skip
    return facts

"""What the lab's own rule says of a study in which the truth is known, at every look; no picture is drawn here.

In: a study's readings, and what is known of the base. Out: findings and intervals by look and instrument, as plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from aa_studies import LOOKS, MARGINS, MEASURES, PROMPT

from loralab.infer.case import ControlCells, InstrumentFacts
from loralab.infer.judge import judge
from loralab.infer.known import BaseKnown
from loralab.infer.looks import PLANNED, Looks, one_look
from loralab.infer.pairs import cell_readings, run_effects
from loralab.infer.verdict import Verdict
from loralab.measure import TABLE
from loralab.spec import BASE
from loralab.spec.cells import Cell
from loralab.spec.models import ExperimentSpec
from loralab.spec.questions import QuestionId

NEXT_TO_NOTHING = 1e-9
FACTS = {name: InstrumentFacts(name, TABLE[name].kind, TABLE[name].low, TABLE[name].high, "", 0.0, 0.0, True, "") for name in MEASURES}
VERSUS = {"between": f'b @ "{PROMPT}"', "learned": "base"}


def judged(readings: pl.DataFrame, known: Mapping[str, BaseKnown], expect: Mapping[str, str]) -> dict[str, Any]:
    """Return what each look says: by look, then by the margin (`any`: next to nothing, `usual`), then by experiment and instrument.

    Both experiments are one study: *between*, arm a against arm b; *learned*, arm a against the base with arm b as its placebo. `alone`
    has the intervals of single claims at 95 % under the same prior.
    """
    told = {(BASE, PROMPT, measure): value for measure, value in known.items()}
    n_runs = int(readings["replicate"].max() or 0) + 1
    return {str(look): _at_look(readings.filter(pl.col("replicate") < look), told, expect, look) for look in LOOKS if look <= n_runs}


def _at_look(readings: pl.DataFrame, known: Mapping[Any, BaseKnown], expect: Mapping[str, str], look: int) -> dict[str, Any]:
    nothing, asked = dict.fromkeys(MEASURES, NEXT_TO_NOTHING), list(VERSUS)
    found: dict[str, Any] = {}
    for name, margins in (("any", nothing), ("usual", MARGINS)):
        together = {which: ExperimentSpec(question="?", claims=tuple(claims_of(which, margins, expect))) for which in asked}
        verdicts = verdicts_of(together, readings, known, PLANNED)
        found[name] = {which: {v.measure: v.finding for v in verdicts if v.experiment == which} for which in asked}
    apart = {
        f"{which}-{i}": ExperimentSpec(question="?", claims=(claim,))
        for which in asked
        for i, claim in enumerate(claims_of(which, nothing, expect))
    }
    verdicts = verdicts_of(apart, readings, known, one_look(look))
    found["alone"] = {which: {v.measure: interval_of(v) for v in verdicts if v.experiment.startswith(which)} for which in asked}
    return found


def interval_of(verdict: Verdict) -> list[float] | None:
    """Return [low, high] of a claim; None where there is none."""
    return None if verdict.contrast is None else [round(verdict.contrast.low, 6), round(verdict.contrast.high, 6)]


def verdicts_of(
    experiments: Mapping[str, ExperimentSpec], readings: pl.DataFrame, known: Mapping[Any, BaseKnown], looks: Looks
) -> list[Verdict]:
    """Return the lab's verdicts; claims against the base have arm b as their placebo."""
    learned = [name for name in experiments if name.startswith("learned")]
    questions = [QuestionId(name, "claim", i) for name in learned for i in range(len(experiments[name].claims))]
    controls = {question: ControlCells(Cell("b", PROMPT), None) for question in questions}
    return judge(experiments, readings, training={}, instruments=FACTS, controls=controls, known=known, looks=looks)


def claims_of(which: str, margins: Mapping[str, float], expect: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one claim an instrument: arm a against arm b, or against the base."""
    cell, versus = f'a @ "{PROMPT}"', VERSUS[which]
    return [
        {"say": name, "measure": name, "cell": cell, "versus": versus, "expect": expect.get(name, "higher"), "margin_absolute": margin}
        for name, margin in margins.items()
    ]


def effects_of(readings: pl.DataFrame, measure: str, arm: str) -> list[float]:
    """Return each training's mean difference from the base."""
    cell = Cell(arm, PROMPT)
    sides = [cell_readings(readings, side, measure) for side in (cell, cell.on(BASE))]
    return [round(float(effect), 5) for effect in run_effects(sides, (1, -1), TABLE[measure].kind).effects]


def known_of(values: Mapping[str, list[float]]) -> dict[str, BaseKnown]:
    """Return what is known of the base from readings of further pictures, by instrument."""
    return {name: BaseKnown(float(np.mean(own)), float(np.var(own, ddof=1)), len(own)) for name, own in values.items()}

"""The lab's own rule in rounds, played through on studies that are drawn from a pool of real readings; nothing is trained.

In: a study and a pool. Out: of each made-up study what each look had decided by then, and the trainings and pictures until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from answers_pool import CELL, Pool, Told, drawn_from, frame_of, known_bases
from answers_rules import FAILS, HOLDS, OPEN
from answers_study import Study

from loralab.infer.judge import judge
from loralab.infer.looks import PLANNED, Looks
from loralab.infer.rounds import decided_before, first_round, next_round, state_of
from loralab.infer.verdict import Verdict
from loralab.spec import Cell
from loralab.spec.questions import QuestionId

RULED = {"supported": HOLDS, "contradicted": FAILS}


@dataclass(frozen=True)
class Cost:
    """What a study takes: LoRAs trained, and pictures drawn and measured, the base's included."""

    trainings: int
    pictures: int


@dataclass(frozen=True)
class Look:
    """What a study had decided when it looked after so many trainings, and what it had taken until then."""

    trainings: int
    answers: Mapping[QuestionId, int]
    cost: Cost


def cost_of(study: Study, trainings: Mapping[Cell, int]) -> Cost:
    """Return what so many trainings of each cell take; an arm is trained as often as its busiest cell asks."""
    arms: dict[str, int] = {}
    for cell, n in trainings.items():
        if not cell.is_base:
            arms[str(cell.arm)] = max(n, arms.get(str(cell.arm), 0))
    made = sum(n for arm, n in arms.items() if study.spec.arms[arm].trained_here and study.spec.arms[arm].control != "null")
    return Cost(made, sum(study.reach(trainings).values()) * study.spec.sample.seeds)


def play(
    study: Study, pool: Pool, told: Mapping[Told, np.ndarray], rng: np.random.Generator, looks: Looks = PLANNED
) -> list[Look]:  # fmt: skip
    """Return the looks of one made-up study that stops by itself, each with what was decided by then; ``told`` as from ``base_values``."""
    readings = frame_of(pool, drawn_from(pool, rng, 1, looks.last, study.spec.sample.seeds))
    known = known_bases(told, rng)
    current, trainings = first_round(study.plan.cells, study.questions, looks), dict[Cell, int]()
    settled: dict[QuestionId, Verdict] = {}
    made: list[Look] = []
    while True:
        trainings |= dict.fromkeys(current.cells, current.trainings)
        verdicts = judge(
            study.experiments, drawn_so_far(study, readings, trainings, current.trainings), training=study.training,
            instruments=study.facts, controls=study.plan.controls, curves=study.plan.curves, known=known, looks=looks,
        )  # fmt: skip
        verdicts = decided_before(verdicts, settled)
        settled |= {verdict.question: verdict for verdict in verdicts if state_of(verdict) != "open"}
        made.append(Look(current.trainings, {v.question: RULED.get(v.verdict, OPEN) for v in verdicts}, cost_of(study, trainings)))
        ahead = next_round(verdicts, study.spec.experiments, study.plan.controls, study.plan.curves, current, looks)
        if ahead is None:
            return made
        current = ahead


def drawn_so_far(study: Study, readings: pl.DataFrame, trainings: Mapping[Cell, int], look: int) -> pl.DataFrame:
    """Return the readings that there are by a look: each cell's as far as it was trained, a base's beneath the furthest of them."""
    drawn = study.reach(trainings)
    rows = [(str(c.arm), c.is_base, c.prompt, 1.0 if c.is_base else c.strength, c.step, min(n, look)) for c, n in drawn.items()]
    kinds = {name: readings.schema[name] for name in CELL}
    reach = pl.DataFrame(rows, schema={**kinds, "drawn": pl.Int64}, orient="row").with_columns(
        strength=pl.when(pl.col("is_base")).then(None).otherwise(pl.col("strength"))
    )
    there = readings.with_columns(reached=pl.when(pl.col("is_base")).then(None).otherwise(pl.col("strength")))
    keys = ["arm", "is_base", "prompt", "reached", "step"]
    found = there.join(reach.rename({"strength": "reached"}), on=keys, how="inner", nulls_equal=True)
    return found.filter(pl.col("replicate") < pl.col("drawn")).drop("reached", "drawn")

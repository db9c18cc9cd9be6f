"""Which of two things is learned first: how much further one reading has come on its way to the training set than another.

In: the same cell as two instruments read it. Out: one case whose readings are, picture by picture, the difference of the two shares of the
way: a / gap_a - b / gap_b. The gaps (training set minus base) are taken as given, as margins take them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl

from loralab.infer.case import Case, InstrumentFacts, find_gap

KEYS = ("arm", "replicate", "prompt", "strength", "step", "seed", "is_base")


def ahead_case(case: Case, other: Case) -> Case:
    """Return the case of one instrument's way minus another's; one that cannot be measured where a way is too short to be told."""
    gaps = find_gap(case).gap, find_gap(other).gap
    for each, gap in zip((case, other), gaps, strict=True):
        if gap is None or abs(gap) <= max(each.facts.smallest_gap, 1e-9):
            note = f"the training set and the base differ too little in {each.facts.name} to say how much of the way was made"
            return replace(case, facts=replace(case.facts, carried=False, note=note), training_mean=None)
    ways = float(gaps[0] or 1.0), float(gaps[1] or 1.0)
    readings = ahead_readings(case.readings, other.readings, (case.facts.kind, other.facts.kind), ways)
    facts = ahead_facts(case.facts, other.facts, ways)
    return replace(case, readings=readings, facts=facts, training_mean=None, known={}, read={})  # what was read before are other readings


def ahead_readings(one: pl.DataFrame, other: pl.DataFrame, kinds: tuple[str, str], gaps: tuple[float, float]) -> pl.DataFrame:
    """Return the rows of ``one`` with a / gap_a - b / gap_b in the place of a; of a share, what could not be measured counts as 0."""
    told = [_way(frame, kind, gap) for frame, kind, gap in zip((one, other), kinds, gaps, strict=True)]
    both = told[0].join(told[1].select(*KEYS, pl.col("way").alias("other")), on=list(KEYS), nulls_equal=True)
    value = pl.col("way") - pl.col("other")
    status = pl.when(value.is_null()).then(pl.lit("not_measurable")).otherwise(pl.lit("measured"))
    return both.with_columns(value.alias("value"), status.alias("status")).select(one.columns)


def _way(frame: pl.DataFrame, kind: str, gap: float) -> pl.DataFrame:
    value = pl.when(pl.col("status") == "measured").then(pl.col("value")).otherwise(pl.lit(0.0 if kind == "share" else None, pl.Float64))
    return frame.with_columns((value / gap).alias("way"))


def ahead_facts(one: InstrumentFacts, other: InstrumentFacts, gaps: tuple[float, float]) -> InstrumentFacts:
    """Return what is known of the difference of two ways: errors of pictures add as independent ones, biases may not cancel."""
    ways = [(facts, abs(gap)) for facts, gap in zip((one, other), gaps, strict=True)]
    reach = sum(facts.span / gap for facts, gap in ways)
    return InstrumentFacts(
        name=one.name, kind="continuous", low=-reach, high=reach, unit="share",
        bias=sum(abs(facts.bias) / gap for facts, gap in ways), error=math.hypot(*(facts.error / gap for facts, gap in ways)),
        carried=one.carried and other.carried, note=one.note if not one.carried else other.note,
    )  # fmt: skip

"""Builders for the tests of ``loralab.infer``: a readings frame from nested lists, an experiment from a few words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from loralab.infer.judge import ControlCells, InstrumentFacts, judge
from loralab.spec.cells import parse_cell
from loralab.spec.models import ExperimentSpec
from loralab.spec.questions import QuestionId
from tests.support.judged import PLACEBO_CELL

SCHEMA = {
    "arm": pl.String, "replicate": pl.Int64, "prompt": pl.String, "strength": pl.Float64, "step": pl.Int64, "seed": pl.Int64,
    "measure": pl.String, "value": pl.Float64, "status": pl.String, "reason": pl.String, "is_base": pl.Boolean,
}  # fmt: skip

Frame = Callable[..., pl.DataFrame]


def _frame(cells: Mapping[str, Sequence[Sequence[float | None] | None]], measure: str = "m") -> pl.DataFrame:
    """Return readings: one list a run, one value a seed; a run of None is missing, a value of None could not be measured."""
    rows = []
    for text, runs in cells.items():
        cell = parse_cell(text)
        n_seeds = max(len(run) for run in runs if run is not None)
        for replicate, run in enumerate(runs):
            for i, value in enumerate(run or ()):
                status = "not_measurable" if value is None else "measured"
                key = (str(cell.arm), replicate, cell.prompt, cell.strength, cell.step, replicate * n_seeds + i)
                rows.append((*key, measure, value, status, "" if value is not None else "no subject", cell.is_base))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _experiment(*claims: Mapping[str, Any]) -> dict[str, ExperimentSpec]:
    """Return one experiment; what a claim leaves out is: higher than the base, by an absolute margin of 1."""
    full = []
    for claim in claims or ({},):
        margin = {} if "margin" in claim or claim.get("margin_absolute", 0) is None else {"margin_absolute": 1.0}
        given = {key: value for key, value in claim.items() if value is not None}
        full.append({"say": "it is learned", "measure": "m", "cell": 'arm @ "p"', "expect": "higher"} | margin | given)
    return {"exp": ExperimentSpec(question="?", claims=tuple(full))}


def _facts(name: str = "m", **changes: Any) -> InstrumentFacts:
    fields = {"kind": "continuous", "low": 0.0, "high": 100.0, "unit": "u", "bias": 0.0, "error": 0.0, "carried": True, "note": ""}
    return InstrumentFacts(name=name, **(fields | changes))


@pytest.fixture(scope="session")
def frame() -> Frame:
    return _frame


@pytest.fixture(scope="session")
def experiment() -> Callable[..., dict[str, ExperimentSpec]]:
    return _experiment


@pytest.fixture(scope="session")
def facts() -> Callable[..., InstrumentFacts]:
    return _facts


@pytest.fixture
def decide(frame, experiment, facts):
    """Return the only verdict of a claim about cells of readings."""

    def decide(cells, claim=None, *, training=None, placebo=PLACEBO_CELL, no_trigger=None, alpha=0.05, **instrument):
        return judge(
            experiment(claim or {}),
            frame(cells),
            training={} if training is None else {("arm", "m"): training},
            instruments={"m": facts(**instrument)},
            controls={QuestionId("exp", "claim", 0): ControlCells(placebo, no_trigger)},
            alpha=alpha,
        )[0]

    return decide

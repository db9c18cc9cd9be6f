"""How much a measurement differs between trainings that differ in their seed alone: the table that a plan needs.

    python benchmarks/run_spread.py LAB/studies/article [--write] [--markdown docs/results/variance.md]

For each instrument and cell of an arm, from the paired differences (arm - base, same prompt and seed): the standard deviation between
trainings, between the pictures of one training, their ratio (ICC), each with its 95 % interval; and how lopsided trainings are. --write
puts the variances, averaged over the cells that claims read, into src/loralab/infer/run_sd.json, --markdown writes the tables for the docs.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from loralab.infer.pairs import FEW_VALUES, cell_readings, paired_values, with_sources
from loralab.infer.spread import Estimate, Spread, estimate_spread
from loralab.measure import TABLE as INSTRUMENTS
from loralab.spec import BASE
from loralab.spec.cells import Cell, parse_cell
from loralab.spec.sources import spelled

TABLE = Path(__file__).parents[1] / "src" / "loralab" / "infer" / "run_sd.json"
#: a cell with fewer trainings says too little about the spread between them.
MIN_RUNS = 3


@dataclass(frozen=True)
class CellSpread:
    """The spread of one instrument's difference from the base in one cell of an arm."""

    measure: str
    cell: Cell
    spread: Spread
    skewness: float  # of the trainings' means, positive where the long tail points away from the base
    few_valued: bool  # whether a picture reads as one of a few values, such as a circle or none

    @property
    def instrument(self) -> str:
        """The measure without the training set that it refers to."""
        return self.measure.split("[")[0]


def cell_spreads(readings: pl.DataFrame) -> Iterator[CellSpread]:
    """Yield the spread in every cell of every arm in which any two readings differ."""
    readings = with_sources(readings)
    places = readings.filter(~pl.col("is_base")).select("measure", "arm", "prompt", "strength", "step").unique(maintain_order=True)
    for measure, arm, prompt, strength, step in places.iter_rows():
        cell, own = Cell(arm, prompt, strength, step), readings.filter(pl.col("measure") == measure)
        sides = [cell_readings(own, side, measure) for side in (cell, cell.on(BASE))]
        values, runs = paired_values(sides, INSTRUMENTS[measure.split("[")[0]].kind)
        difference = values[0] - values[1]
        if len(set(runs.tolist())) >= MIN_RUNS and len(difference) > len(set(runs.tolist())) and difference.std() > 0:
            few = len(np.unique(values)) <= FEW_VALUES
            yield CellSpread(measure, cell, estimate_spread(difference, runs), skewness_of_means(difference, runs), few)


def skewness_of_means(difference: np.ndarray, runs: np.ndarray) -> float:
    """Return the skewness of the trainings' means, positive where the long tail points away from the base; 0 where all agree."""
    means = np.array([difference[runs == run].mean() for run in np.unique(runs)])
    if np.ptp(means) < 1e-12 * max(1.0, float(np.abs(means).max())):
        return 0.0
    return float(stats.skew(means, bias=False)) * (1 if means.mean() >= 0 else -1)


def pooled(cells: list[CellSpread]) -> dict[str, dict[str, float]]:
    """Return, for each instrument, what its cells have in common: variances are averaged, so that cells in which much moves count.

    Between trainings: of the pooled variance of the means, what the pooled pictures leave, not below 0.
    """
    found: dict[str, dict[str, float]] = {}
    for name in sorted({cell.instrument for cell in cells}):
        own = [cell for cell in cells if cell.instrument == name]
        means, within = (float(np.mean([value**2 for value in values])) for values in zip(*map(_deviations, own), strict=True))
        seeds = float(np.mean([cell.spread.pictures_a_run for cell in own]))
        between = max(0.0, means - within / seeds)
        found[name] = {
            "sd": math.sqrt(means), "between": math.sqrt(between), "within": math.sqrt(within),
            "icc": between / (between + within) if means > 0 else 0.0,
            "seeds": seeds, "runs": float(np.median([cell.spread.n_runs for cell in own])),
            "largest": max(cell.spread.of_means.value for cell in own), "cells": len(own),
            "skewness": float(np.mean([cell.skewness for cell in own])), "classes": float(all(cell.few_valued for cell in own)),
        }  # fmt: skip
    return {name: row for name, row in found.items() if row["sd"] > 0}


def _deviations(cell: CellSpread) -> tuple[float, float]:
    return cell.spread.of_means.value, cell.spread.within.value


def judged_cells(study: Path) -> set[tuple[str, str, str]]:
    """Return (measure, arm, prompt) of what the study's verdicts compare, and of the placebo beside it."""
    document = json.loads((study / "verdicts.json").read_text(encoding="utf-8"))
    found: set[tuple[str, str, str]] = set()
    for verdict in document["verdicts"]:
        places = [verdict["cell"], verdict["versus"], *(check["against"] for check in verdict["controls"] if check["name"] == "placebo")]
        for cell in (parse_cell(place) for place in places if place):
            found.add((verdict["measure"], spelled(cell.arm), cell.prompt))
    return found


def for_plans(cells: list[CellSpread], judged: set[tuple[str, str, str]]) -> list[CellSpread]:
    """Return the cells that claims read, and of instruments that no claim read, all: where nobody asks, little spreads."""
    read = {measure.split("[")[0] for measure, _, _ in judged}
    return [cell for cell in cells if cell.instrument not in read or (cell.measure, cell.cell.arm, cell.cell.prompt) in judged]


def shown(estimate: Estimate) -> str:
    """Return "value (low to high)"."""
    return f"{estimate.value:.3g} ({estimate.low:.2g} to {estimate.high:.2g})"


def markdown(name: str, cells: list[CellSpread], judged: set[tuple[str, str, str]], origin: str) -> Iterator[str]:
    """Yield the lines of the docs' page."""
    yield from ("# How much trainings differ that differ in their seed alone", "")
    yield "A training's effect is the mean over its pictures of arm - base, at the same prompt and seed, in the instrument's unit."
    yield "*Between*: standard deviation between trainings, without what their few pictures add. *Within*: between the pictures of one"
    yield "training. *ICC*: between² / (between² + within²). *Of means*: √(between² + within² / pictures), what verdicts rest on."
    yield "*Skewness*: of the trainings' means, mean over cells; positive: a few trainings move much further from the base than most."
    yield "Estimates by analysis of variance, in brackets 95 % intervals (chi-square; F for the ICC; Williams and Tukey for *between*)."
    yield from ("", f"From the study {name}: {origin}. Made by `python benchmarks/run_spread.py LAB/studies/{name} --markdown FILE`.", "")
    yield from ("## By instrument: pooled over the cells that claims read (over all cells, where no claim reads it)", "")
    yield "| instrument | unit | cells | trainings | pictures each | between | within | ICC | of means | largest | skewness |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for instrument, row in pooled(for_plans(cells, judged)).items():
        head = f"| {instrument} | {INSTRUMENTS[instrument].unit or '–'} | {row['cells']} | {row['runs']:g} | {row['seeds']:g} | "
        yield head + " | ".join(f"{row[key]:.3g}" for key in ("between", "within", "icc", "sd", "largest")) + f" | {row['skewness']:.2f} |"
    yield from ("", "## By arm, where the study's claims read it", "")
    yield "| instrument | arm @ prompt | trainings | between | within | ICC | of means |"
    yield "|---|---|---|---|---|---|---|"
    for cell in cells:
        if (cell.measure, cell.cell.arm, cell.cell.prompt) in judged:
            s = cell.spread
            row = (shown(s.between), shown(s.within), shown(s.icc), shown(s.of_means))
            yield f"| {cell.measure} | {cell.cell} | {s.n_runs} | " + " | ".join(row) + " |"
    yield ""


def write_table(found: dict[str, dict[str, float]], origin: str) -> None:
    """Replace the shipped spreads of the instruments that were ``found``."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    for name, row in found.items():
        entry = table["instruments"].setdefault(name, {})
        entry |= {"sd": round(row["sd"], 4), "seeds": round(row["seeds"]), "n_runs": round(row["runs"])}
        entry["source"] = f"{origin}: pooled over {row['cells']} cells"
        if row["classes"]:
            entry["classes"] = True
        if row["within"] > 0:
            entry |= {"between": round(row["between"], 4), "within": round(row["within"], 4)}
    lines = [f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["instruments"].items()]
    about = json.dumps(table["about"])
    TABLE.write_text(f'{{\n  "about": {about},\n  "instruments": {{\n' + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8", newline="\n")


def origin_of(study: Path) -> str:
    """Return on which base and budget the study was last run to its end; raises IndexError where it never was."""
    ledger = [json.loads(line) for line in (study / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    finished = {record["attempt"] for record in ledger if record["event"] == "finished"}  # a later one may be under way
    started = [record for record in ledger if record["event"] == "started" and record["attempt"] in finished][-1]
    return f"{study.name} study, preset {started['preset']}, base {started['base_sha256'][:12]}"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    cells = sorted(cell_spreads(pl.read_parquet(given.study / "readings.parquet")), key=lambda cell: (cell.measure, cell.cell.arm))
    judged = judged_cells(given.study)
    found, origin = pooled(for_plans(cells, judged)), origin_of(given.study)
    for name, row in found.items():
        print(f"{name:24}" + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if given.markdown:
        text = "\n".join(markdown(given.study.name, cells, judged, origin))
        given.markdown.parent.mkdir(parents=True, exist_ok=True)
        given.markdown.write_text(text, encoding="utf-8", newline="\n")
    if given.write:
        write_table(found, origin)


if __name__ == "__main__":
    main()

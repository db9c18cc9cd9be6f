"""How much a measurement differs between trainings that differ in their seed alone: the table that a plan needs.

    python benchmarks/run_spread.py LAB/studies/article [--write]

For each instrument and each cell of an arm: the mean paired difference from the base in every training, and the standard deviation over
trainings. The table keeps the median over the study's cells. --write puts it into src/loralab/infer/run_sd.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import polars as pl

TABLE = Path(__file__).parents[1] / "src" / "loralab" / "infer" / "run_sd.json"


def run_effects(readings: pl.DataFrame) -> pl.DataFrame:
    """Return one row a training and cell: the mean over its pictures of arm minus base at the same prompt and seed."""
    base = readings.filter(pl.col("arm") == "base").select("prompt", "seed", "measure", pl.col("value").alias("base"))
    paired = readings.filter(pl.col("arm") != "base").join(base, on=["prompt", "seed", "measure"], how="inner")
    paired = paired.drop_nulls(["value", "base"])
    return paired.group_by("measure", "arm", "prompt", "replicate").agg((pl.col("value") - pl.col("base")).mean().alias("effect"), pl.len())


def spreads(readings: pl.DataFrame) -> pl.DataFrame:
    """Return one row an instrument: the median over cells of the spread between trainings, with the counts that it rests on."""
    cells = (
        run_effects(readings)
        .group_by("measure", "arm", "prompt")
        .agg(pl.col("effect").std().alias("sd"), pl.len().alias("runs"), pl.col("len").mean().alias("seeds"))
        .filter((pl.col("runs") >= 3) & (pl.col("sd") > 0))
        .with_columns(pl.col("measure").str.split("[").list.first())
    )
    return (
        cells.group_by("measure")
        .agg(
            pl.col("sd").median(),
            pl.col("runs").median(),
            pl.col("seeds").median(),
            pl.len().alias("cells"),
            pl.col("sd").max().alias("largest"),
        )
        .sort("measure")
    )


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    found = spreads(pl.read_parquet(given.study / "readings.parquet"))
    with pl.Config(tbl_rows=-1):
        print(found)
    if given.write:
        table = json.loads(TABLE.read_text(encoding="utf-8"))
        for row in found.iter_rows(named=True):
            entry = table["instruments"].setdefault(row["measure"], {})
            source = f"petri-v1, {given.study.name} study: median of {row['cells']} cells"
            entry |= {"sd": round(row["sd"], 4), "seeds": round(row["seeds"]), "n_runs": round(row["runs"]), "source": source}
        lines = [f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["instruments"].items()]
        about = json.dumps(table["about"])
        TABLE.write_text(f'{{\n  "about": {about},\n  "instruments": {{\n' + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

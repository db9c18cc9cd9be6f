"""A whole study for the benchmarks: run from the beginning in a scratch lab, or read back from the ledger of one that was run so."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from loralab.cli import shipped_study
from loralab.engine.whole import run_study
from loralab.errors import lab_error
from loralab.spec import load_study
from loralab.spec.load import Loaded, held_as
from loralab.store import read_lines

TRAIN, DRAW = "train", ("draw the base's images", "draw the LoRAs' images")


@dataclass(frozen=True)
class StudySeconds:
    """Wall seconds of a study's stages, and of all of it."""

    stages: dict[str, float]
    wall: float

    @property
    def training(self) -> float:
        """Seconds of training."""
        return self.stages.get(TRAIN, 0.0)

    @property
    def drawing(self) -> float:
        """Seconds of drawing, the store's part included."""
        return sum(self.stages.get(stage, 0.0) for stage in DRAW)

    @property
    def rest_share(self) -> float:
        """Share of the time that is neither training nor drawing."""
        return 1 - (self.training + self.drawing) / self.wall


def add_study_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses the study."""
    parser.add_argument(
        "--study", type=Path, default=None, metavar="LAB/studies/NAME",
        help="Read the first attempt from this folder's ledger instead of running; it must have begun with an empty store.",
    )  # fmt: skip
    parser.add_argument("--lab", type=Path, default=None, help="Empty folder for the run. Default: a scratch folder.")


def chosen_study(options: argparse.Namespace) -> Loaded:
    """Return the article's study: its quick budget, with --quick the smoke budget; in the precision asked for."""
    return held_as(load_study(shipped_study("article"), "smoke" if options.quick else "quick"), None, options.precision)


def study_seconds(options: argparse.Namespace, loaded: Loaded, scratch: Path) -> StudySeconds:
    """Run the study from the beginning, or read its times; raises LabError("spec") for a ledger without a finished first attempt."""
    if options.study is None:
        times = run_study(loaded, options.lab or scratch / "lab", lambda event: None).finished
        return StudySeconds(dict(times["stage_seconds"]), float(times["wall_seconds"]))
    finished = [record for record in read_lines(options.study / "ledger.jsonl") if record.get("event") == "finished"]
    if not finished or finished[0]["attempt"] != 1:
        found = f"no first attempt that finished in {options.study}: later ones find part of their work done"
        raise lab_error("spec", found, "the folder of a study that was run once, in an empty lab")
    return StudySeconds(dict(finished[0]["stage_seconds"]), float(finished[0]["wall_seconds"]))

"""Writes what each epoch does as scalars for TensorBoard, in a run of its own beside the trainer's: each value once, also over restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loralab.checking.found import CheckedFile
from loralab.checking.order import mark_of, moment_of
from loralab.checking.scores import Scores
from loralab.errors import lab_error
from loralab.infer.units import Estimate, estimate_mean, estimate_share
from loralab.store import write_atomically

RUN = "loralab-watch"
WRITTEN = "written.json"
NAMES = ("effect", "damage", "without trigger", "copies")


def estimates_of(scores: Scores) -> dict[str, Estimate]:
    """Return what is written of a file, by name; what cannot be told is left out."""
    found = {"effect": estimate_mean(scores.effect), "damage": estimate_mean(scores.damage)}
    if scores.firing is not None:
        found["without trigger"] = estimate_mean(scores.firing)
    if scores.copies is not None:
        found["copies"] = estimate_share(scores.copies)
    return found


def step_of(file: CheckedFile) -> int | None:
    """Return the step at which a file was saved, else its epoch; None where neither is told."""
    moment, mark = moment_of(file.metadata), mark_of(file.path)
    named = mark.number if mark.kind == "step" else None
    told = (moment.step, named, moment.epoch, mark.number, None if file.at is None else int(file.at))
    return next((value for value in told if value is not None), None)


class Scalars:
    """A run in a folder of TensorBoard's; raises LabError("spec") where the library that writes it is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise lab_error("spec", "--tensorboard needs tensorboardX", "the extra", "pip install 'loralab[tensorboard]'") from error
        self.folder = folder / RUN
        self.written: dict[str, int] = _read(self.folder / WRITTEN)
        self.writer: Any = SummaryWriter(str(self.folder))
        margins = {name: ["Margin", [f"loralab/{name}{end}" for end in ("", "_low", "_high")]] for name in NAMES}
        self.writer.add_custom_scalars({"loralab": margins})

    def write(self, weights: str, step: int, scores: Scores) -> None:
        """Write a file's values at its step; a file whose values stand there already is passed over."""
        if self.written.get(weights) == step:
            return
        for name, found in estimates_of(scores).items():
            for end, value in (("", found.value), ("_low", found.low), ("_high", found.high)):
                self.writer.add_scalar(f"loralab/{name}{end}", value, step)
        self.writer.flush()
        self.written[weights] = step
        write_atomically(self.folder / WRITTEN, json.dumps(self.written).encode())

    def close(self) -> None:
        """End the run's file."""
        self.writer.close()


def _read(file: Path) -> dict[str, int]:
    try:
        found: Mapping[str, int] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(found)

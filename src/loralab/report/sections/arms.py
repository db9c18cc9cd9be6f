"""What each arm was trained on, and how: gathered from a study's result, and shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from loralab.report.input import ArmSummary, ReportInput
from loralab.report.sections.pictures import training_pictures
from loralab.report.shell import render
from loralab.report.strips import view_training
from loralab.spec import BASE, AdapterSource, base_of
from loralab.spec.knobs import OPTIMISER_LABELS
from loralab.spec.load import train_spec_of
from loralab.store import read_lines
from loralab.study.beyond import shown_words
from loralab.study.result import StudyResult

#: knobs that a recipe's first words name
SAID = ("optimiser", "algo", "dora", "lokr_full_matrix")


def show(report: ReportInput, columns: int) -> Markup:
    """Return a card for each arm; nothing where none was trained."""
    if not report.arms:
        return Markup()
    return render("sections/arms.html.j2", arms=report.arms, view_training=view_training, sparkline=sparkline)


def arm_summaries(result: StudyResult) -> tuple[ArmSummary, ...]:
    """Return a summary of every arm with LoRAs of its own."""
    return tuple(_arm_summary(result, name) for name in result.plan.trained_arms)


def _arm_summary(result: StudyResult, name: str) -> ArmSummary:
    arm, recipe = result.spec.arms[name], train_spec_of(result.spec, result.spec.arms[name])
    sources = [planned.source for planned in result.plan.runs if planned.arm == name]
    alpha = "" if "alpha" in recipe.idle else f"alpha {recipe.alpha_of(recipe.rank):g}, "
    text = f"{recipe.said}, {alpha}learning rate {recipe.lr:g}, "
    text += f"{recipe.steps} steps of {recipe.batch} pictures, {OPTIMISER_LABELS[recipe.optimiser]}, {recipe.schedule} schedule"
    text += "".join(f", {knob} {value}" for knob, value in recipe.turned.items() if knob not in SAID)
    text += "".join(f", {words}" for words in shown_words(arm))
    if arm.stack:
        text = f"applied together: {'; '.join(map(str, arm.stack))}"
    if arm.adapters is not None:
        text = "trained elsewhere, one file per training: " + Path(arm.adapters).name  # a report carries no folder of this machine
    if base_of(result.spec, name) != BASE:
        text += f"; on a different base, {result.base_of(name).name}"
    training, n_training = training_pictures(result, name)
    return ArmSummary(
        name=name, captions=arm.captions or "the data set's own", data=arm.data, recipe=text, runs=len(sources),
        failed_runs=sum(source in result.failures for source in sources), losses=tuple(_mean_losses(result, sources)),
        training=training, n_training=n_training,
    )  # fmt: skip


def _mean_losses(result: StudyResult, sources: Sequence[AdapterSource], points: int = 32) -> list[float]:
    """Return the arm's training loss over steps, the mean over its runs, thinned to ``points`` means of neighbours."""
    curves = []
    for source in sources:
        rows = read_lines(result.path(result.adapters[source]) / "losses.jsonl")
        if source not in result.failures and rows:
            curves.append([float(row["loss"]) for row in rows])
    if not curves:
        return []
    mean = np.mean(np.array(curves), axis=0)
    return [float(np.mean(part)) for part in np.array_split(mean, min(points, len(mean)))]


def sparkline(values: Sequence[float], width: int = 120, height: int = 28) -> str:
    """Return the points of a polyline that fills ``width`` x ``height``; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    across = width / (len(values) - 1)
    return " ".join(f"{i * across:.1f},{height - 2 - (height - 4) * (value - low) / span:.1f}" for i, value in enumerate(values))

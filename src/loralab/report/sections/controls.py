"""The controls of a finished study as rows for its report: plumbing, placebo, assay window, trigger removed, unrelated prompts, null."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from loralab.infer.estimate import MIN_RUNS, estimate_contrast
from loralab.infer.pairs import cell_readings, run_effects
from loralab.infer.verdict import Verdict, read_by
from loralab.infer.words import amount, reading
from loralab.measure import TABLE
from loralab.report.input import ControlRow, ReportInput
from loralab.report.shell import render
from loralab.spec import BASE, Cell, base_of, is_base
from loralab.spec.questions import question_of
from loralab.study.measures import card_name, plain_measure, study_measures
from loralab.study.plan import control_cells, placebo_of
from loralab.study.result import StudyResult

LEVEL = 0.95


def show(report: ReportInput, columns: int) -> Markup:
    """Return the table of controls; nothing where there are none."""
    return render("sections/controls.html.j2", controls=report.controls) if report.controls else Markup()


def control_rows(result: StudyResult, verdicts: Sequence[Verdict]) -> tuple[ControlRow, ...]:
    """Return what each control of the study came to, in the order of the checks; a control that the study lacks says so."""
    return (*_plumbing(result), *_placebo(result), *_null(result), *_assay(result, verdicts), *_no_trigger(result), *_unrelated(result))


def _plumbing(result: StudyResult) -> Iterator[ControlRow]:
    same_at_zero, moved_at_one = result.same_at_zero, result.moved_at_one
    if not same_at_zero:
        yield ControlRow("plumbing", "", "not checked: no LoRA was trained successfully", None)
        return
    n = len(same_at_zero)
    wrong = [source for source, same in same_at_zero.items() if not same]
    told = f"the base's picture pixel for pixel, for {n - len(wrong)} of {n} LoRAs (one of each arm)"
    yield ControlRow("strength 0", "a LoRA at strength 0 must give the base's picture", told, not wrong)
    still = [str(source) for source, moved in moved_at_one.items() if moved == 0]
    least, most = min(moved_at_one.values()), max(moved_at_one.values())
    told = f"strength 1 moves a pixel by {least:.1f} to {most:.1f} of 255 on average" + (
        f"; not at all: {', '.join(still)}" if still else ""
    )
    yield ControlRow("strength 1", "a trained LoRA must change the picture", told, not still)


def _placebo(result: StudyResult) -> Iterator[ControlRow]:
    says = "the same training on the base's own pictures: what training does by itself"
    for base in result.plan.bases:
        name = "placebo" if base == BASE else f"placebo, {base}"
        placebo = placebo_of(result.spec, base)
        if placebo is None or placebo not in result.plan.arms:
            where = "this study has none" if base == BASE else f"there is none on the {base}"
            yield ControlRow(name, says, f"{where}, so nothing can be called learned", False)
            continue
        prompts = list(dict.fromkeys(cell.prompt for cell in result.plan.cells if cell.arm == placebo))
        told = "; ".join(f"“{prompt}” {moved}" for prompt in prompts if (moved := _moved(result, Cell(placebo, prompt))))
        yield ControlRow(name, says, told or "drawn at the prompts of the claims; `change` was not measured", True)


def _null(result: StudyResult) -> Iterator[ControlRow]:
    for arm in (arm for arm in result.plan.arms if result.spec.arms[arm].control == "null"):
        prompts = dict.fromkeys(cell.prompt for cell in result.plan.cells if cell.arm == arm)
        told = "; ".join(f"“{prompt}” {moved}" for prompt in prompts if (moved := _moved(result, Cell(arm, prompt))))
        says = "LoRAs of random weights that change the predicted noise by as much as the trained ones"
        yield ControlRow(arm, says, told or "drawn; `change` was not measured", True)


def _assay(result: StudyResult, verdicts: Sequence[Verdict]) -> Iterator[ControlRow]:
    """Yield, for each instrument and arm of a claim, what it reads on the base (floor) and on the training set (ceiling)."""
    shown = set()
    for verdict in verdicts:
        arm, gap, measure = question_of(result.spec, verdict.question).cell.arm, verdict.gap, read_by(verdict.measure)
        if is_base(arm):
            continue
        if gap is None or verdict.training_mean is None or (arm, measure) in shown:
            continue
        shown.add((arm, measure))
        card = result.cards[base_of(result.spec, arm)][card_name(measure)]
        unit, error = TABLE[plain_measure(measure)].unit, max(card.error, abs(card.bias))
        told = f"base {reading(verdict.training_mean - gap, unit)}, training set {reading(verdict.training_mean, unit)}"
        told += f": {abs(gap) / error:.1f} times the instrument's error" if error else ""
        yield ControlRow(f"window of {measure}", f"can it distinguish the training set of {arm} from the base?", told, abs(gap) > error)


def _no_trigger(result: StudyResult) -> Iterator[ControlRow]:
    spec = result.spec
    cells = [control_cells(spec, claim).no_trigger for experiment in spec.experiments.values() for claim in experiment.claims]
    for cell in dict.fromkeys(cell for cell in cells if cell is not None):
        moved = _moved(result, cell)
        prompt = f"“{cell.prompt}”" if cell.prompt else "no prompt"
        if moved:
            yield ControlRow(f"{cell.arm} without its trigger", f"{prompt}: how much do its pictures change?", moved, None)


def _unrelated(result: StudyResult) -> Iterator[ControlRow]:
    for prompt in result.spec.sample.unrelated:
        for arm in result.plan.arms:
            moved = _moved(result, Cell(arm, prompt))
            if moved:
                yield ControlRow(f"{arm}, unrelated", f"“{prompt}”: side damage", moved, None)


def _moved(result: StudyResult, cell: Cell) -> str:
    """Return how far a cell's pictures moved from the base's, with a 95 % interval over trainings; empty where that was not measured."""
    if "change" not in study_measures(result.spec):
        return ""
    readings = result.readings.filter(result.readings["measure"] == "change")
    own = cell.on(base_of(result.spec, cell.arm))
    sides = [cell_readings(readings, side, "change") for side in (cell, own)]
    effects = run_effects(sides, (1, -1), "continuous")
    if effects.n_runs < MIN_RUNS:
        return f"{amount(float(np.mean(effects.effects)), 'deltaE')}, trained {effects.n_runs} times" if effects.n_runs else ""
    found = estimate_contrast(effects.effects, n_images=effects.n_pairs, level=LEVEL, floor=1e-9)
    return f"{found.effect:.1f} deltaE ({found.low:.1f} to {found.high:.1f})"

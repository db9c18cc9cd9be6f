"""Each question with its verdicts and its strips of pictures, chosen by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from loralab.infer.case import CurveCells
from loralab.infer.verdict import Verdict
from loralab.report.input import ExperimentSection, Picture, ReportInput, Strip, StripRow
from loralab.report.lookup import base_name, card_name, unit_of
from loralab.report.sections.pictures import bare_png, training_pictures
from loralab.report.sentences import answer
from loralab.report.shell import render
from loralab.report.strips import view_strips
from loralab.spec import Cell, CurveSpec, base_of
from loralab.spec.questions import QuestionId
from loralab.study.result import StudyResult

STRIP_COLUMNS = 8


def show(report: ReportInput, columns: int) -> Markup:
    """Return every experiment: its answer, its claims with their figures, its strips of at most ``columns`` seeds."""
    return render(
        "sections/experiments.html.j2", report=report, base=base_name(report), answer=answer,
        strips=view_strips(report.experiments, columns), card_name=lambda measure: card_name(measure, report.cards),
        unit_of=lambda measure: unit_of(measure, report.cards),
    )  # fmt: skip


def sections_of(result: StudyResult, verdicts: Sequence[Verdict]) -> tuple[ExperimentSection, ...]:
    """Return the sections of a study's experiments, in the order of the file."""
    return tuple(_section(result, name, verdicts) for name in result.spec.experiments)


def _section(result: StudyResult, name: str, verdicts: Sequence[Verdict]) -> ExperimentSection:
    experiment = result.spec.experiments[name]
    cells = [claim.cell for claim in experiment.claims if not claim.cell.is_base]
    cells += [cell for cell in experiment.show if not cell.is_base]
    strips = [_strip(result, name, cell) for cell in dict.fromkeys(cells)]
    strips += [
        _curve_strip(result, curve, result.plan.curves[QuestionId(name, "curve", index)])
        for index, curve in enumerate(experiment.curves)
        if QuestionId(name, "curve", index) in result.plan.curves
    ]
    return ExperimentSection(
        name=name, question=experiment.question, article=experiment.article,
        verdicts=tuple(verdict for verdict in verdicts if verdict.experiment == name),
        strips=tuple(strips),
    )  # fmt: skip


def _strip(result: StudyResult, experiment: str, cell: Cell) -> Strip:
    """Return base above LoRA at the same seeds; then whatever the experiment's claims compare this cell with."""
    columns = _columns(result, cell)
    own = base_of(result.spec, cell.arm)
    cells: dict[Cell, str] = {cell.on(own): str(own), cell: str(cell.arm)}
    for index, claim in enumerate(result.spec.experiments[experiment].claims):
        if claim.cell != cell:
            continue
        versus = claim.versus_cell
        if not versus.is_base and versus.arm != cell.arm and versus.prompt == cell.prompt:
            theirs = base_of(result.spec, versus.arm)
            cells.setdefault(versus.on(theirs), str(theirs))
            cells.setdefault(versus, str(versus.arm))
        for member in (member.arm for member in result.spec.arms[str(cell.arm)].stack if member.arm):
            cells.setdefault(cell.on(member), f"{member} alone")
        controls = result.plan.controls[QuestionId(experiment, "claim", index)]
        if controls.no_trigger is not None:
            cells.setdefault(controls.no_trigger, f"{cell.arm}, without its trigger")
        if controls.placebo is not None:
            cells.setdefault(controls.placebo, "placebo")
        if controls.null is not None:
            cells.setdefault(controls.null, "random adapter")
    return _make_strip(result, str(cell), cell, cells, columns)


def _curve_strip(result: StudyResult, curve: CurveSpec, drawn: CurveCells) -> Strip:
    """Return the base and every dose below it, at the same seeds."""
    own = base_of(result.spec, curve.cell.arm)
    cells: dict[Cell, str] = {curve.cell.on(own): str(own)}
    for dose, cell in zip(drawn.doses, drawn.cells, strict=True):
        cells.setdefault(cell, f"{curve.over} {dose:g}")
    return _make_strip(result, f"{curve.cell.arm} over {curve.over}", curve.cell, cells, _columns(result, curve.cell))


def _make_strip(result: StudyResult, title: str, cell: Cell, cells: Mapping[Cell, str], columns: Sequence[tuple[int, int]]) -> Strip:
    rows = [StripRow(label, tuple(_pictures(result, row, columns))) for row, label in cells.items()]
    training, n_training = training_pictures(result, str(cell.arm))
    return Strip(
        cell=title, prompt=cell.prompt, seeds=tuple(seed for _, seed in columns), rows=tuple(row for row in rows if row.pictures),
        training=training, n_training=n_training,
        rule=f"{chosen_by(columns)}, the base's at the same seeds; nothing was picked by hand",
    )  # fmt: skip


def chosen_by(columns: Sequence[tuple[int, int]]) -> str:
    """Return by what rule the pictures at these (replicate, seed) were chosen."""
    n = len({replicate for replicate, _ in columns})
    if n == 1:
        return f"the first {len(columns)} pictures of the one training" if len(columns) > 1 else "the first picture of the one training"
    if len(columns) == n:
        return f"the first picture of each of the first {n} trainings"
    return f"the first pictures of each of the {n} trainings, {len(columns)} in all"


def _columns(result: StudyResult, cell: Cell) -> list[tuple[int, int]]:
    """Return (replicate, seed) of the first picture of each replicate; with few replicates, of their first pictures in turn."""
    replicates = result.replicates(cell)
    n_seeds = result.spec.sample.seeds
    turns = [(replicate, replicate * n_seeds + turn) for turn in range(n_seeds) for replicate in replicates]
    return sorted(turns[:STRIP_COLUMNS])


def _pictures(result: StudyResult, cell: Cell, columns: Sequence[tuple[int, int]]) -> Iterator[Picture]:
    for replicate, seed in columns:
        file = result.pictures(cell, replicate).get(seed)
        if file is not None:
            yield Picture(bare_png(file), f"seed {seed}", f"{cell.arm}, training {replicate + 1}, prompt {cell.prompt!r}, seed {seed}")

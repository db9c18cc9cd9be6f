"""Each question with its verdicts and its strips of pictures, chosen by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from loralab.infer.case import CurveCells
from loralab.infer.pairs import cell_readings, paired_values
from loralab.infer.verdict import Verdict, read_by
from loralab.measure import TABLE
from loralab.report.explorer.records import address, claim_key, prompt_address
from loralab.report.input import ExperimentSection, Picture, ReportInput, Strip, StripRow
from loralab.report.lookup import base_name, card_name, unit_of
from loralab.report.questions import Question, questions_of
from loralab.report.sections.pictures import bare_png, training_pictures
from loralab.report.sentences import answer
from loralab.report.shell import render
from loralab.report.strips import StripView, view_strips
from loralab.report.words import count
from loralab.spec import Cell, CurveSpec, base_of
from loralab.spec.load import preset_of
from loralab.spec.models import ClaimSpec, ExperimentSpec
from loralab.spec.questions import QuestionId, question_of
from loralab.study.measures import plain_measure
from loralab.study.result import StudyResult

STRIP_COLUMNS = 8


def show(report: ReportInput, columns: int) -> Markup:
    """Return every question: its answer beside a figure and a strip of at most ``columns`` seeds; its claims and other strips folded."""
    questions = questions_of(report.experiments)
    return render(
        "sections/experiments.html.j2", report=report, base=base_name(report), answer=answer, questions=questions,
        strips=view_strips([question.section for question in questions], columns), claims_words=claims_words, strips_words=strips_words,
        card_name=lambda measure: card_name(measure, report.cards),
        unit_of=lambda measure: unit_of(measure, report.cards),
    )  # fmt: skip


def claims_words(question: Question) -> str:
    """Return what the folded claims of a question are called."""
    n = len(question.claims)
    return "The claim, with its numbers" if n == 1 else f"All {count(n)} claims, with figures and numbers"


def strips_words(strips: Sequence[StripView]) -> str:
    """Return what the folded strips of a question are called: by their prompts."""
    prompts = dict.fromkeys(f"“{strip.prompt}”" if strip.prompt else "no prompt" for strip in strips)
    return "More pictures: " + ", ".join(prompts)


def sections_of(result: StudyResult, verdicts: Sequence[Verdict]) -> tuple[ExperimentSection, ...]:
    """Return the sections of a study's experiments, in the order of the file."""
    return tuple(_section(result, name, verdicts) for name in result.spec.experiments)


def _section(result: StudyResult, name: str, verdicts: Sequence[Verdict]) -> ExperimentSection:
    experiment = result.spec.experiments[name]
    cells = [claim.cell for claim in experiment.claims if not claim.cell.is_base]
    cells += [cell for cell in experiment.show if not cell.is_base]
    strips = [_strip(result, name, cell) for cell in dict.fromkeys(cells)]
    strips += [
        _curve_strip(result, curve, f"{name}:curve:{index}", result.plan.curves[QuestionId(name, "curve", index)])
        for index, curve in enumerate(experiment.curves)
        if QuestionId(name, "curve", index) in result.plan.curves
    ]
    return ExperimentSection(
        name=name, question=experiment.question, article=experiment.article or experiment.belief, heard=heard_of(experiment),
        verdicts=tuple(verdict for verdict in verdicts if verdict.experiment == name),
        strips=tuple(strips), trainings=trainings_of(result, [verdict for verdict in verdicts if verdict.experiment == name]),
    )  # fmt: skip


def heard_of(experiment: ExperimentSpec) -> str:
    """Return how what was said before the run is introduced: what the article found, or what people believe."""
    claims, curves = (any(question.belief for question in questions) for questions in (experiment.claims, experiment.curves))
    return "It is said" if experiment.belief or claims or curves else "The article found"


def trainings_of(result: StudyResult, verdicts: Sequence[Verdict]) -> dict[str, tuple[int, ...]]:
    """Return by each claim's key the trainings behind its dots, counted from 1; of a claim where that is not certain, nothing."""
    found = {claim_key(verdict): _behind(result, verdict) for verdict in verdicts if verdict.contrast is not None}
    return {key: trainings for key, trainings in found.items() if trainings}


def _behind(result: StudyResult, verdict: Verdict) -> tuple[int, ...]:
    """Return the trainings of which every side of a claim could be measured at one seed: one dot each, in their order."""
    question = question_of(result.spec, verdict.question)
    drawn = result.plan.curves.get(verdict.question)
    if verdict.contrast is None or not isinstance(question, ClaimSpec | CurveSpec):
        return ()
    cells = (question.cell, question.versus_cell) if isinstance(question, ClaimSpec) else drawn.cells if drawn else ()
    if not cells:
        return ()
    sides = [cell_readings(result.readings, cell, read_by(verdict.measure)) for cell in cells]
    _, replicates = paired_values(sides, TABLE[plain_measure(read_by(verdict.measure))].kind)
    numbers = sorted({int(replicate) + 1 for replicate in replicates})
    return tuple(numbers[: verdict.contrast.n_runs]) if len(numbers) >= verdict.contrast.n_runs else ()


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
            cells.setdefault(cell.on(member), f"only {member}")
        controls = result.plan.controls[QuestionId(experiment, "claim", index)]
        if controls.no_trigger is not None:
            cells.setdefault(controls.no_trigger, f"{cell.arm}, without its trigger")
        if controls.placebo is not None:
            cells.setdefault(controls.placebo, "placebo")
        if controls.null is not None:
            cells.setdefault(controls.null, "random twin")
    claims = [f"{experiment}:claim:{index}" for index, claim in enumerate(result.spec.experiments[experiment].claims) if claim.cell == cell]
    return _make_strip(result, str(cell), cell, cells, columns, claims)


def _curve_strip(result: StudyResult, curve: CurveSpec, claim: str, drawn: CurveCells) -> Strip:
    """Return the base and every dose below it, at the same seeds."""
    own = base_of(result.spec, curve.cell.arm)
    cells: dict[Cell, str] = {curve.cell.on(own): str(own)}
    for dose, cell in zip(drawn.doses, drawn.cells, strict=True):
        cells.setdefault(cell, f"{curve.over} {dose:g}")
    return _make_strip(result, f"{curve.cell.arm} over {curve.over}", curve.cell, cells, _columns(result, curve.cell), [claim])


def _make_strip(
    result: StudyResult, title: str, cell: Cell, cells: Mapping[Cell, str], columns: Sequence[tuple[int, int]], claims: Sequence[str]
) -> Strip:  # fmt: skip
    rows = [StripRow(label, tuple(_pictures(result, row, columns))) for row, label in cells.items()]
    training, n_training = training_pictures(result, str(cell.arm))
    return Strip(
        cell=title, prompt=cell.prompt, seeds=tuple(seed for _, seed in columns), rows=tuple(row for row in rows if row.pictures),
        training=training, n_training=n_training,
        rule=f"{chosen_by(columns)}, with the base's at the same seeds; none were hand-picked",
        n_pictures=sum(len(result.pictures(cell, replicate)) for replicate in result.replicates(cell)), claims=tuple(claims),
        address=address(claim=claims[0]) if claims and preset_of(result.loaded).verdicts else prompt_address(cell.prompt),
    )  # fmt: skip


def chosen_by(columns: Sequence[tuple[int, int]]) -> str:
    """Return by what rule the pictures at these (replicate, seed) were chosen."""
    n = len({replicate for replicate, _ in columns})
    if n == 1:
        return f"the first {len(columns)} pictures of the only training" if len(columns) > 1 else "the first picture of the only training"
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

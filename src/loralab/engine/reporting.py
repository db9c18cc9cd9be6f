"""Gathers what the report shows from a finished study: pictures chosen by rule, cards, exclusions, provenance."""

from __future__ import annotations

import io
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loralab import __version__
from loralab.engine.controls import control_rows
from loralab.engine.images import KeyedBlock, image_files
from loralab.engine.local import StudyRun, base_names
from loralab.engine.measure_names import card_name, plain_measure
from loralab.engine.measuring import study_measures
from loralab.engine.plan import block_of, seeds_of
from loralab.engine.training import KIND as ADAPTERS
from loralab.infer.case import CurveCells
from loralab.infer.verdict import Verdict
from loralab.measure import TABLE
from loralab.measure.files import load_pictures
from loralab.report import (
    ArmSummary,
    CardSummary,
    ExperimentSection,
    Picture,
    Provenance,
    ReportInput,
    StageTime,
    Strip,
    StripRow,
)  # fmt: skip
from loralab.report.words import duration, would_tell
from loralab.spec import BASE, AdapterSource, Cell, CurveSpec, base_of
from loralab.spec.load import preset_of, run_name, train_spec_of
from loralab.spec.questions import QuestionId, run_sentence
from loralab.store import read_lines

STRIP_COLUMNS = 8
VERSIONS_SHOWN = ("torch", "diffusers", "transformers", "safetensors", "numpy", "scipy", "scikit-image", "polars")


def report_input(run: StudyRun, verdicts: Sequence[Verdict]) -> ReportInput:
    """Return everything that the report of a finished study shows."""
    spec = run.plan.spec
    return ReportInput(
        study=spec.study,
        about=spec.about,
        preset=run.loaded.preset or "none",
        verdicts_printed=preset_of(run.loaded).verdicts,
        experiments=tuple(_section(run, name, verdicts) for name in spec.experiments),
        arms=tuple(_arm_summary(run, name) for name in run.plan.trained_arms),
        cards=tuple(_cards(run)),
        exclusions=tuple(_exclusions(run)),
        not_measured=tuple(_not_measured(run, verdicts)),
        provenance=_provenance(run),
        notes=run.plan.notes,
        controls=control_rows(run, verdicts),
    )


# --- pictures -----------------------------------------------------------------------------------------------------------


def _section(run: StudyRun, name: str, verdicts: Sequence[Verdict]) -> ExperimentSection:
    experiment = run.plan.spec.experiments[name]
    cells = [claim.cell for claim in experiment.claims if not claim.cell.is_base]
    cells += [cell for cell in experiment.show if not cell.is_base]
    strips = [_strip(run, name, cell) for cell in dict.fromkeys(cells)]
    strips += [
        _curve_strip(run, curve, run.plan.curves[QuestionId(name, "curve", index)])
        for index, curve in enumerate(experiment.curves)
        if QuestionId(name, "curve", index) in run.plan.curves
    ]
    return ExperimentSection(
        name=name, question=experiment.question, article=experiment.article,
        verdicts=tuple(verdict for verdict in verdicts if verdict.experiment == name),
        strips=tuple(strips),
    )  # fmt: skip


def _strip(run: StudyRun, experiment: str, cell: Cell) -> Strip:
    """Return base above LoRA at the same seeds; then whatever the experiment's claims compare this cell with."""
    columns = _columns(run, cell)
    own = base_of(run.plan.spec, cell.arm)
    cells: dict[Cell, str] = {cell.on(own): str(own), cell: str(cell.arm)}
    for index, claim in enumerate(run.plan.spec.experiments[experiment].claims):
        if claim.cell != cell:
            continue
        versus = claim.versus_cell
        if not versus.is_base and versus.arm != cell.arm and versus.prompt == cell.prompt:
            theirs = base_of(run.plan.spec, versus.arm)
            cells.setdefault(versus.on(theirs), str(theirs))
            cells.setdefault(versus, str(versus.arm))
        for member in (member.arm for member in run.plan.spec.arms[str(cell.arm)].stack if member.arm):
            cells.setdefault(cell.on(member), f"{member} alone")
        controls = run.plan.controls[QuestionId(experiment, "claim", index)]
        if controls.no_trigger is not None:
            cells.setdefault(controls.no_trigger, f"{cell.arm}, without its trigger")
        if controls.placebo is not None:
            cells.setdefault(controls.placebo, "placebo")
        if controls.null is not None:
            cells.setdefault(controls.null, "random adapter")
    return _make_strip(run, str(cell), cell, cells, columns)


def _curve_strip(run: StudyRun, curve: CurveSpec, drawn: CurveCells) -> Strip:
    """Return the base and every dose below it, at the same seeds."""
    own = base_of(run.plan.spec, curve.cell.arm)
    cells: dict[Cell, str] = {curve.cell.on(own): str(own)}
    for dose, cell in zip(drawn.doses, drawn.cells, strict=True):
        cells.setdefault(cell, f"{curve.over} {dose:g}")
    return _make_strip(run, f"{curve.cell.arm} over {curve.over}", curve.cell, cells, _columns(run, curve.cell))


def _make_strip(run: StudyRun, title: str, cell: Cell, cells: Mapping[Cell, str], columns: Sequence[tuple[int, int]]) -> Strip:
    rows = [StripRow(label, tuple(_pictures(run, row, columns))) for row, label in cells.items()]
    return Strip(
        cell=title, prompt=cell.prompt, seeds=tuple(seed for _, seed in columns), rows=tuple(row for row in rows if row.pictures),
        training=_training_pictures(run, str(cell.arm)),
        rule=f"the first picture of each of the first {len(columns)} trainings, the base's at the same seed; nothing was picked by hand",
    )  # fmt: skip


def _columns(run: StudyRun, cell: Cell) -> list[tuple[int, int]]:
    """Return (replicate, seed) of the first picture of each replicate; with few replicates, of their first pictures in turn."""
    replicates = sorted({block.replicate for block in run.blocks if block.who == cell.arm})
    n_seeds = run.plan.spec.sample.seeds
    turns = [(replicate, replicate * n_seeds + turn) for turn in range(n_seeds) for replicate in replicates]
    return sorted(turns[:STRIP_COLUMNS])


def _pictures(run: StudyRun, cell: Cell, columns: Sequence[tuple[int, int]]) -> Iterator[Picture]:
    for replicate, seed in columns:
        block = _block_of(run, cell, replicate)
        if block is not None:
            file = image_files(run.store, block)[block.plan.seeds.index(seed)]
            yield Picture(_bare_png(file), f"seed {seed}", f"{cell.arm}, training {replicate + 1}, prompt {cell.prompt!r}, seed {seed}")


def _block_of(run: StudyRun, cell: Cell, replicate: int) -> KeyedBlock | None:
    return run.blocks.get(block_of(cell, replicate, seeds_of(replicate, run.plan.spec.sample.seeds)))


def _training_pictures(run: StudyRun, arm: str) -> tuple[Picture, ...]:
    dataset = run.datasets[arm]
    pairs = list(zip(dataset.images, dataset.captions, strict=True))[:STRIP_COLUMNS]
    return tuple(Picture(png_bytes(image), caption, f"training picture, caption {caption!r}") for image, caption in pairs)


@lru_cache(maxsize=4096)
def _bare_png(file: Path) -> bytes:
    """Return a picture of the store without its text; kept, since the base's stand in many strips, and no file there ever changes."""
    return png_bytes(load_pictures([file])[0])


def png_bytes(image: np.ndarray) -> bytes:
    """Return an image (H, W, 3) uint8 as PNG bytes without any text or EXIF."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG", optimize=True)
    return out.getvalue()


# --- arms and cards -----------------------------------------------------------------------------------------------------


def _arm_summary(run: StudyRun, name: str) -> ArmSummary:
    arm, recipe = run.plan.spec.arms[name], train_spec_of(run.plan.spec, run.plan.spec.arms[name])
    sources = [planned.source for planned in run.plan.runs if planned.arm == name]
    text = f"rank {recipe.rank}, alpha {recipe.rank if recipe.alpha is None else recipe.alpha:g}, learning rate {recipe.lr:g}, "
    text += f"{recipe.steps} steps of {recipe.batch} pictures, AdamW, {recipe.schedule} schedule"
    if arm.stack:
        text = f"applied together: {'; '.join(map(str, arm.stack))}"
    if arm.adapters is not None:
        text = "trained elsewhere, one file a training: " + Path(arm.adapters).name  # a report carries no folder of this machine
    if base_of(run.plan.spec, name) != BASE:
        text += f"; on a base of its own, {run.base_of(name).name}"
    return ArmSummary(
        name=name, captions=arm.captions or "the data's own", data=arm.data, recipe=text, runs=len(sources),
        failed_runs=sum(source in run.failures for source in sources), losses=tuple(_mean_losses(run, sources)),
        training=_training_pictures(run, name),
    )  # fmt: skip


def _mean_losses(run: StudyRun, sources: Sequence[AdapterSource], points: int = 32) -> list[float]:
    """Return the arm's training loss over steps, the mean over its runs, thinned to ``points`` means of neighbours."""
    curves = []
    for source in sources:
        rows = read_lines(run.store.path(ADAPTERS, run.run_keys[source]) / "losses.jsonl")
        if source not in run.failures and rows:
            curves.append([float(row["loss"]) for row in rows])
    if not curves:
        return []
    mean = np.mean(np.array(curves), axis=0)
    return [float(np.mean(part)) for part in np.array_split(mean, min(points, len(mean)))]


def _cards(run: StudyRun) -> Iterator[CardSummary]:
    names = [(own, card_name(measure)) for own in run.plan.bases for measure in study_measures(run.plan.spec, own)]
    for own, name in dict.fromkeys(names):
        card, instrument = run.cards_of[own][name], TABLE[plain_measure(name)]
        title = name if own == BASE else f"{name}, {own}"
        yield CardSummary(
            name=title, unit=instrument.unit, says=instrument.says, carried=card.carried, note=card.note, bias=card.bias, error=card.error,
            n_images=card.n_images, not_measurable=card.not_measurable, sha256=card.sha256, pictures=(),
        )  # fmt: skip


# --- what is missing ----------------------------------------------------------------------------------------------------


def _exclusions(run: StudyRun) -> Iterator[str]:
    for source, reason in run.failures.items():
        yield f"LoRA {source} was not used: {reason}"
    missing = run.readings.filter(run.readings["status"] == "not_measurable")
    counts = Counter(zip(missing["measure"].to_list(), missing["reason"].to_list(), strict=True))
    totals = Counter(run.readings["measure"].to_list())
    for (measure, reason), n in counts.most_common():
        yield f"{measure}: {n} of {totals[measure]} pictures could not be measured ({reason})"
    for arm, dataset in run.datasets.items():
        yield from (f"training set of {arm}: {note}" for note in dataset.notes)


def _not_measured(run: StudyRun, verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.verdict in ("open", "leaning"):
            yield f"“{verdict.say}” is not settled: {would_tell(verdict)}."
        elif verdict.verdict == "not_measurable":
            yield f"“{verdict.say}” was not measured: {verdict.reason}"
    used = "Only this base was used." if len(run.bases) == 1 else "Only these bases were used."
    yield f"{used} What a LoRA learns on petri need not be what it learns on a full-size model; the same study runs there."
    yield "Only the words in this file were tried. A verdict about `myshape` and `monster` is about that pair of words."
    yield "The text encoder was frozen."
    if not run.plan.curves:
        yield "Earlier steps of a training and other strengths were not drawn."


# --- provenance ---------------------------------------------------------------------------------------------------------


def _provenance(run: StudyRun) -> Provenance:
    records = read_lines(run.ledger)
    started = [record for record in records if record["event"] == "started"]
    stages = [StageTime(stage, seconds, _foretold(run, stage)) for stage, seconds in run.clock.seconds.items()]
    if run.clock.first_pictures_seconds is not None:
        stages.append(StageTime("first pictures after", run.clock.first_pictures_seconds, "part of the above"))
    stages.append(StageTime("all, until this page was written", run.clock.total_seconds, "what was in the store already took no time"))
    return Provenance(
        study_sha256=run.loaded.sha256, preset=run.loaded.preset or "none", base=base_names(run.bases),
        base_sha256=run.bases_sha256,
        versions=_versions(), device=str(run.base.device), threads=torch.get_num_threads(), root_seed=run.plan.spec.seed,
        seeds_rule=f"training r of every arm, and the base beside it, draw seeds r*{run.plan.spec.sample.seeds} to "
        f"r*{run.plan.spec.sample.seeds}+{run.plan.spec.sample.seeds - 1} (r counts from 0)",
        started=str(started[-1]["at"]), stages=tuple(stages), attempts=tuple(_attempts(started, records)),
        run_says=run_sentence(records, run.loaded.sha256, run.bases_sha256) if preset_of(run.loaded).verdicts else "",
        commands=(" ".join(["loralab run", run_name(run.loaded), *_options(run)]),),
    )  # fmt: skip


def _options(run: StudyRun) -> list[str]:
    """Return the options by which the same question is asked again."""
    return [*([f"--{run.loaded.preset}"] if run.loaded.preset else []), *run.loaded.options]


def _foretold(run: StudyRun, stage: str) -> str:
    seconds = run.clock.foretold.get(stage)
    return "" if seconds is None else f"foretold from its first parts: {duration(seconds)}"


def _attempts(started: Sequence[Mapping[str, object]], records: Sequence[Mapping[str, object]]) -> Iterator[str]:
    finished = {record["attempt"] for record in records if record["event"] == "finished"}
    first = str(started[0]["study_sha256"])
    for record in started:
        state = "finished" if record["attempt"] in finished else "this one or cut off"
        changed = "" if record["study_sha256"] == first else ", not the study or budget of the first attempt"
        what = f"preset {record['preset']}, study {str(record['study_sha256'])[:12]}"
        yield f"attempt {record['attempt']}, {record['at']}, {what}: {state}{changed}"


def _versions() -> dict[str, str]:
    found = {"loralab": __version__, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in VERSIONS_SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found

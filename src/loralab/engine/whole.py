"""One call for a whole study: a loaded study in; readings, verdicts and a report on disk, and what was found, out."""

from __future__ import annotations

import datetime
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch

from loralab.bases import Base
from loralab.bases.named import load_bases
from loralab.bases.round_trip import round_trip_of
from loralab.cost.calibration import correct_rates
from loralab.cost.memory import sized
from loralab.infer.pairs import with_sources
from loralab.infer.verdict import Verdict
from loralab.measure import Card
from loralab.measure.companions import companion_of
from loralab.measure.files import load_pictures
from loralab.portable import link_or_copy, replace_folder
from loralab.report.again import write_pages
from loralab.report.sections.provenance import versions
from loralab.sample.sheets import contact_sheet
from loralab.spec import BASE, AdapterSource, BaseSource, base_of, is_base
from loralab.spec.load import Loaded, preset_of
from loralab.stages import run_stage
from loralab.stages.cards import facts_of, shipped_cards
from loralab.stages.data import load_dataset
from loralab.stages.images import drop_mistaken
from loralab.stages.readings import training_means
from loralab.store import Store, append_line, disk_errors, read_lines, write_atomically
from loralab.store.running import published
from loralab.study.judging import judge_result, note_drawn, save_verdicts
from loralab.study.looks import Budget, run_rounds
from loralab.study.measures import study_measures
from loralab.study.plan import StudyPlan, make_plan
from loralab.study.result import LEDGER_FILE, READINGS_FILE, StudyResult, load_result, save_result, study_folder
from loralab.study.rounds import DRAW_LORAS, TRAIN, Round, plan_round
from loralab.work.events import Event, StageClock
from loralab.work.execute import execute
from loralab.work.executor import Executor, spread
from loralab.work.processes import with_processes

Listener = Callable[[Event], None]


def run_study(loaded: Loaded, lab: Path, listen: Listener, budget: Budget | None = None, on: str = "") -> StudyResult:
    """Return what the study found, behind carrying it out, judging it and writing its report; what is in the store is not made again.

    With a ``budget`` it is made in rounds, each of which goes on only with what is open (``loaded`` then comes from `with_looks`). ``on``
    says where: "" is here, `ray` and `ray://HOST:PORT` are Ray's (docs/many-machines.md).

    Raises LabError; what was finished before stays in the store, and the same call goes on from there.
    """
    with published(lab, "study", loaded.spec.study, listen) as hear:
        return _run_study(loaded, lab, hear, budget, on)


def _run_study(loaded: Loaded, lab: Path, listen: Listener, budget: Budget | None, on: str) -> StudyResult:
    clock, store = StageClock(), Store(lab / "store")
    with clock.stage("load the base"):
        bases = load_bases(loaded)
        executor, plan = placed(make_plan(loaded.spec), bases, lab, on)
    folder = study_folder(lab, plan.spec.study)

    def make(part: StudyPlan) -> StudyResult:
        its = plan_round(part, {source: facts_of(base) for source, base in bases.items()}, loaded.folder)
        told = set(clock.foretold)
        carry_out(replace(its, groups=spread(its.groups, executor.places)), store, executor, clock, folder, listen)
        if executor.places == 1:  # several machines say nothing about this one
            correct_speed(part, bases, {title: seconds for title, seconds in clock.foretold.items() if title not in told})
        with clock.stage("judge"):
            return gather(loaded, lab, its, store, bases)

    with closing(executor):
        drop_mistaken(store)
        attempt = freeze(loaded, lab, bases)
        result, verdicts = _once(plan, make, clock) if budget is None else run_rounds(plan, make, folder / LEDGER_FILE, budget)
    if preset_of(loaded).verdicts:
        save_verdicts(result, verdicts)
    note_times(result, attempt, clock)
    listen(Event("report", 0, 1))
    result = load_result(lab, plan.spec.study)
    page = write_pages(result)
    listen(Event("report", 1, 1, path=str(page)))
    return result


def _once(plan: StudyPlan, make: Callable[[StudyPlan], StudyResult], clock: StageClock) -> tuple[StudyResult, list[Verdict]]:
    """Return the result and the verdicts of a study that is judged once."""
    result = make(plan)
    if preset_of(result.loaded).verdicts:
        note_drawn(result, sum(clock.foretold.get(stage, seconds) for stage, seconds in clock.seconds.items()))
    with clock.stage("judge"):
        return result, judge_result(result) if preset_of(result.loaded).verdicts else []


def executor_of(plan: StudyPlan, bases: dict[BaseSource, Base]) -> Executor:
    """Return what carries the study out here: this process, with as many beside it as the plan's sizes say."""
    return with_processes({base.fingerprint: base for base in bases.values()}, plan.sizes.processes, run_stage)


def placed(plan: StudyPlan, bases: dict[BaseSource, Base], lab: Path, on: str) -> tuple[Executor, StudyPlan]:
    """Return what carries the study out, here or on a Ray cluster, and the plan with the sizes that fit it."""
    if not on:
        plan = sized(plan, bases)
        return executor_of(plan, bases), plan
    from loralab.work.ray import RayExecutor, address_of

    on_device = any(base.device.type == "cuda" for base in bases.values())
    held = {base.fingerprint: base for base in bases.values()}
    executor = RayExecutor(held, lab, address_of(on), on_device=on_device, run_stage=run_stage)
    return executor, sized(plan, bases, executor.places)


def freeze(loaded: Loaded, lab: Path, bases: dict[BaseSource, Base]) -> int:
    """Write the study as it is run into its folder and append the attempt to the ledger; return which attempt it is."""
    folder, asked = study_folder(lab, loaded.spec.study), preset_of(loaded).verdicts
    attempt = 1 + sum(1 for record in read_lines(folder / "ledger.jsonl") if record.get("event") == "started")
    write_atomically(folder / "study.yaml", loaded.text.encode())
    append_line(folder / "ledger.jsonl", {
        "event": "started", "attempt": attempt, "study_sha256": loaded.sha256, "preset": loaded.preset or "none",
        "verdicts": asked, "questions": sorted(set(loaded.questions.values())) if asked else None,
        "options": list(loaded.options), "base_sha256": ",".join(base.fingerprint for base in bases.values()),
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    })  # fmt: skip
    return attempt


def carry_out(its: Round, store: Store, executor: Executor, clock: StageClock, folder: Path, listen: Listener) -> None:
    """Do everything up to the readings, and lay beside the study what other tools may use."""
    waiting = dict(_first_pictures(its))
    for event in execute(its.groups, store, executor, clock):
        if event.stage:
            listen(event)
        if clock.first_pictures_seconds is None and waiting and all(store.has("images", key) for key in waiting.values()):
            path = folder / "first-pictures.png"
            sheet = [(prompt, load_pictures(sorted(store.path("images", key).glob("*.png")))) for prompt, key in waiting.items()]
            write_atomically(path, contact_sheet(sheet))
            clock.mark_first_pictures()
            listen(Event("draw", event.done, event.total, "first pictures: the base's own", str(path)))
    _lay_out(its, store, folder)


def _first_pictures(its: Round) -> Iterator[tuple[str, str]]:
    """Yield the prompts and keys of the pictures that are shown as soon as they are there: the first replicate's of the first base."""
    first = its.plan.bases[0]
    for block, ref in its.images.items():
        if block.source == first and block.replicate == 0:
            yield block.prompt, ref.key


def _lay_out(its: Round, store: Store, folder: Path) -> None:
    """Lay training sets (kohya folders) and adapters beside the study; hard links where the disk allows it."""
    with disk_errors("writing the training sets"):
        sets = {arm: ref for arm, ref in its.datasets.items() if not its.plan.spec.arms[arm].stack}
        sets |= {f"{arm}.regularisation": ref for arm, ref in its.regularisation.items()}  # no arm can be called that
        for name, ref in sets.items():
            scratch = folder / "datasets" / f".{name}.{os.getpid()}.part"
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(store.path(*ref), scratch, ignore=shutil.ignore_patterns("manifest.json"))
            replace_folder(scratch, folder / "datasets" / name)
    with disk_errors("writing the LoRA files"):
        (folder / "loras").mkdir(parents=True, exist_ok=True)
        for source, ref in its.adapters.items():
            file = store.path(*ref) / "adapter.safetensors"
            if file.is_file():  # else the training failed
                link_or_copy(file, folder / "loras" / f"{source}.safetensors")


# --- what was found -----------------------------------------------------------------------------------------------------


def gather(loaded: Loaded, lab: Path, its: Round, store: Store, bases: dict[BaseSource, Base]) -> StudyResult:
    """Return the study's result, behind writing its readings and what names everything else."""
    folder, content = study_folder(lab, loaded.spec.study), io.BytesIO()
    _readings(its, store).write_parquet(content)
    write_atomically(folder / READINGS_FILE, content.getvalue())
    plumbing = list(_plumbing(its, store))
    result = StudyResult(
        lab, loaded, its.plan.sizes, its.bases, its.datasets, its.adapters,
        {block: ref for block, ref in its.images.items() if store.has(*ref)}, dict(_failures(its, store)),
        {source: same for source, same, _ in plumbing}, {source: moved for source, _, moved in plumbing},
        {base: _cards(its, store, base, bases[base]) for base in its.plan.bases}, _training(its, store, bases), its.regularisation,
    )  # fmt: skip
    save_result(result)
    return result


def _readings(its: Round, store: Store) -> pl.DataFrame:
    frames = []
    for base in its.plan.bases:
        own = [ref for block, ref in its.readings.items() if base_of(its.plan.spec, block.who) == base and store.has(*ref)]
        frames += [with_sources(pl.read_parquet(store.path(*ref) / "readings.parquet")) for ref in own]
    return pl.concat(frames)


def _failures(its: Round, store: Store) -> Iterator[tuple[AdapterSource, str]]:
    for source, ref in its.adapters.items():
        if source.step is None and source.arm in its.plan.trained_arms:
            failed = store.manifest(*ref)["failed"] if store.has(*ref) else "one of the LoRAs it consists of failed"
            if failed is not None:
                yield source, str(failed)


def _plumbing(its: Round, store: Store) -> Iterator[tuple[AdapterSource, bool, float]]:
    for ref, sources in its.checks.items():
        told = store.manifest(*ref) if store.has(*ref) else {"same_at_zero": {}, "moved_at_one": {}}
        for source in sources:
            if str(source) in told["same_at_zero"]:
                yield source, told["same_at_zero"][str(source)], told["moved_at_one"][str(source)]


def _cards(its: Round, store: Store, own: BaseSource, base: Base) -> dict[str, Card]:
    found = shipped_cards(base)
    for name, (ref, file) in its.cards[own].items():
        found[name] = Card.from_json((store.path(*ref) / file).read_text(encoding="utf-8"))
    return found


def _training(its: Round, store: Store, bases: dict[BaseSource, Base]) -> dict[tuple[str, str], float | None]:
    """Return the mean readings of the training sets as the bases' VAEs give them back."""
    spec, means = its.plan.spec, dict[tuple[str, str], float | None]()
    for source in its.plan.bases:
        base = bases[source]
        own = {arm: load_dataset(store.path(*ref), base.size_px) for arm, ref in its.datasets.items() if base_of(spec, arm) == source}
        data_of_arm = {name: arm.data for name, arm in spec.arms.items()}
        means |= training_means(own, data_of_arm, study_measures(spec), round_trip_of(base), companion_of(base.name))
    return means


def note_times(result: StudyResult, attempt: int, clock: StageClock) -> None:
    """Append to the ledger that the attempt is finished, how long it took, and with what."""
    append_line(result.folder / "ledger.jsonl", {
        "event": "finished", "attempt": attempt, "stage_seconds": {stage: round(value, 3) for stage, value in clock.seconds.items()},
        "foretold_seconds": {stage: round(value, 3) for stage, value in clock.foretold.items()},
        "first_pictures_seconds": clock.first_pictures_seconds, "wall_seconds": round(clock.total_seconds, 3),
        "versions": versions(), "device": result.bases[BASE].device, "threads": torch.get_num_threads(),
    })  # fmt: skip


def correct_speed(plan: StudyPlan, bases: dict[BaseSource, Base], seconds: Mapping[str, float]) -> None:
    """Let the next plan foretell from what this run has shown of the machine: the ``seconds`` of whole stages, by their titles."""
    of_loras = sum(len(block.seeds) for block in plan.blocks if not is_base(block.source))
    draw = seconds.get(DRAW_LORAS, 0.0) * plan.n_images / max(1, of_loras)
    correct_rates(bases[BASE], plan, {"train": seconds.get(TRAIN, 0.0), "draw": draw})

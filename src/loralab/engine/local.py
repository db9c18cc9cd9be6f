"""Carries a study out on this machine: a plan comes in, events come out, and a report and its verdicts lie on disk at the end."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import torch

from loralab.adapters import Adapter
from loralab.bases import Base, embed_prompts, load_base
from loralab.engine.cards import load_or_make_cards
from loralab.engine.companions import companion_of
from loralab.engine.datasets import Dataset, make_dataset
from loralab.engine.events import Event, StageClock
from loralab.engine.images import KeyedBlock, block_key, draw_blocks, load_images
from loralab.engine.measuring import SCHEMA, measure_blocks, study_measures
from loralab.engine.memory import sized
from loralab.engine.plan import BlockPlan, StudyPlan, checkpoint_id, make_plan, run_id_of, twin_of
from loralab.engine.plumbing import Plumbing, check_plumbing
from loralab.engine.sheets import contact_sheet
from loralab.engine.training import KIND as ADAPTERS
from loralab.engine.training import adapter_file, adapter_key, load_or_make_twin, load_run, stacks_of, take_adapter, train_runs
from loralab.measure import Card
from loralab.seeds import seed_for
from loralab.spec import BASE_ARM
from loralab.spec.elsewhere import adapter_files
from loralab.spec.load import Loaded, preset_of
from loralab.store import Store, append_line, disk_errors, read_lines, write_atomically


@dataclass
class StudyRun:
    """A study while it is carried out: its plan, its artefacts' keys, and what went wrong."""

    loaded: Loaded
    lab: Path
    store: Store
    plan: StudyPlan
    base: Base
    clock: StageClock
    datasets: dict[str, Dataset] = field(default_factory=dict)
    run_keys: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    blocks: dict[BlockPlan, KeyedBlock] = field(default_factory=dict)
    readings: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    cards: dict[str, Card] = field(default_factory=dict)
    attempt: int = 1
    plumbing: Plumbing | None = None

    @property
    def folder(self) -> Path:
        """The study's folder in the lab."""
        return self.lab / "studies" / self.plan.spec.study

    @property
    def ledger(self) -> Path:
        """The append-only record of attempts."""
        return self.folder / "ledger.jsonl"

    def base_blocks(self) -> dict[tuple[int, str], KeyedBlock]:
        """Return the base's blocks by (replicate, prompt)."""
        return {(b.plan.replicate, b.plan.prompt): b for b in self.blocks.values() if b.plan.arm == BASE_ARM}


def open_study(loaded: Loaded, lab: Path, clock: StageClock) -> StudyRun:
    """Return the study ready to run: store opened, plan made, base loaded, files frozen, attempt noted."""
    store = Store(lab / "store")
    with clock.stage("load the base"):
        base = load_base(resolve_base(loaded), loaded.spec.load)
        plan = sized(make_plan(loaded.spec), base)
    run = StudyRun(loaded, lab, store, plan, base, clock)
    freeze(run)
    return run


def resolve_base(loaded: Loaded) -> str:
    """Return the base's reference; a relative folder is relative to the study file."""
    beside = loaded.folder / loaded.spec.base
    return str(beside) if loaded.spec.base != "petri" and beside.exists() else loaded.spec.base


def freeze(run: StudyRun) -> None:
    """Write the study as it is run into its folder and append the attempt to the ledger."""
    before, verdicts = read_lines(run.ledger), preset_of(run.loaded).verdicts
    run.attempt = 1 + sum(1 for record in before if record.get("event") == "started")
    write_atomically(run.folder / "study.yaml", run.loaded.text.encode())
    append_line(run.ledger, {
        "event": "started", "attempt": run.attempt, "study_sha256": run.loaded.sha256, "preset": run.loaded.preset or "none",
        "verdicts": verdicts, "questions": sorted(set(run.loaded.questions.values())) if verdicts else None,
        "base_sha256": run.base.fingerprint, "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    })  # fmt: skip


def carry_out(run: StudyRun) -> Iterator[Event]:
    """Do everything up to the readings: base images first, then stack by stack (train, draw), then measure."""
    yield from _draw_base(run)
    yield from _make_data(run)
    embeddings = _embeddings(run)
    stacks = stacks_of(run.plan)
    for index, stack in enumerate(stacks):
        note = f"stack {index + 1} of {len(stacks)}"
        with run.clock.stage("train"):
            for event in train_runs(run.store, run.base, run.plan, run.datasets, run.run_keys, stack):
                fraction = index * event.total + event.done
                yield Event("train", fraction, len(stacks) * event.total, f"{note}, {event.note}")
        yield Event("train", index + 1, len(stacks), note)
        yield from _draw_stack(run, stack, embeddings, index, len(stacks))
    _link_adapters(run)
    yield from _measure(run)


def _embeddings(run: StudyRun) -> dict[str, torch.Tensor]:
    prompts = [*dict.fromkeys([*(cell.prompt for cell in run.plan.cells), run.plan.spec.sample.negative])]
    return dict(zip(prompts, embed_prompts(run.base, prompts, clip_skip=run.plan.spec.sample.clip_skip), strict=True))


def _draw_base(run: StudyRun) -> Iterator[Event]:
    blocks = [_keyed(run, block) for block in run.plan.blocks_of(arms_are_base=True)]
    embeddings = _embeddings(run)
    shown = len(blocks) // max(1, max(block.plan.replicate for block in blocks) + 1)
    with run.clock.stage("draw the base's images"):
        for done, total in draw_blocks(run.store, run.base, run.plan.spec.sample, blocks, {}, embeddings, run.plan.sizes.images):
            yield Event("draw", done, total, "the base's pictures")
            ready = [block for block in blocks[:shown] if run.store.has("images", block.key)]
            if run.clock.first_pictures_seconds is None and len(ready) == shown:
                path = run.folder / "first-pictures.png"
                write_atomically(path, contact_sheet([(b.plan.prompt, load_images(run.store, b)) for b in ready]))
                run.clock.mark_first_pictures()
                yield Event("draw", done, total, "first pictures: the base's own", str(path))


def _keyed(run: StudyRun, block: BlockPlan) -> KeyedBlock:
    source = run.base.fingerprint if block.adapter_id is None else run.run_keys[block.adapter_id]
    keyed = KeyedBlock(block, block_key(run.plan.spec.sample, block, source))
    run.blocks[block] = keyed
    return keyed


def _make_data(run: StudyRun) -> Iterator[Event]:
    with run.clock.stage("make the training sets"):
        for index, arm in enumerate(run.plan.trained_arms, start=1):
            run.datasets[arm] = make_dataset(run.store, run.base, run.plan.spec, arm, run.loaded.folder)
            _copy_dataset(run, arm)
            yield Event("data", index, len(run.plan.trained_arms), arm)
    for planned in run.plan.runs:
        pattern = run.plan.spec.arms[planned.arm].adapters
        if pattern is not None:
            file = adapter_files(pattern, run.loaded.folder)[planned.replicate]
            run.run_keys[planned.run_id] = take_adapter(run.store, run.base, file, planned.run_id, run.datasets[planned.arm])
            continue
        for step in (None, *run.plan.kept_steps(planned.arm)):
            key = adapter_key(run.base, planned, run.datasets[planned.arm], run.plan.spec, step)
            run.run_keys[checkpoint_id(planned.run_id, step)] = key


def _copy_dataset(run: StudyRun, arm: str) -> None:
    """Lay the arm's training set, a kohya folder, beside the study for other trainers to use."""
    target = run.folder / "datasets" / arm
    with disk_errors("writing the training sets"):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(run.datasets[arm].folder, target, ignore=shutil.ignore_patterns("manifest.json"))


def _draw_stack(run: StudyRun, stack: list[str], embeddings: Mapping[str, torch.Tensor], index: int, n_stacks: int) -> Iterator[Event]:
    adapters: dict[str, Adapter] = {}
    for run_id in stack:
        adapter = load_run(run.store, run.base, run.run_keys[run_id])
        if adapter is None:
            run.failures[run_id] = str(run.store.manifest(ADAPTERS, run.run_keys[run_id])["failed"])
        else:
            adapters[run_id] = adapter
    if run.plumbing is None and adapters:
        _check_plumbing(run, adapters, embeddings)
    adapters |= _null_twins(run, adapters)
    blocks = [_keyed(run, block) for block in run.plan.blocks if block.run_id in adapters]
    for name in {block.plan.adapter_id for block in blocks} - {None, *adapters}:
        checkpoint = load_run(run.store, run.base, run.run_keys[str(name)])
        if checkpoint is not None:  # a run that ended well had not stopped before
            adapters[str(name)] = checkpoint
    with run.clock.stage("draw the LoRAs' images"):
        for done, total in draw_blocks(run.store, run.base, run.plan.spec.sample, blocks, adapters, embeddings, run.plan.sizes.images):
            yield Event("draw", index * total + done, n_stacks * total, f"the LoRAs' pictures, stack {index + 1} of {n_stacks}")


def _check_plumbing(run: StudyRun, adapters: Mapping[str, Adapter], embeddings: Mapping[str, torch.Tensor]) -> None:
    """Compare strength 0 and 1 with the base, for the first run of every arm in the stack."""
    first = {planned.arm: planned.run_id for planned in reversed(run.plan.runs) if planned.run_id in adapters}
    chosen = {run_id: adapters[run_id] for run_id in sorted(first.values())}
    prompt = next(cell.prompt for cell in run.plan.cells if cell.arm != BASE_ARM)
    with run.clock.stage("check the plumbing"):
        run.plumbing = check_plumbing(run.store, run.base, run.plan.spec.sample, chosen, run.run_keys, prompt, embeddings)


def _null_twins(run: StudyRun, adapters: Mapping[str, Adapter]) -> dict[str, Adapter]:
    """Return the random twins of those runs of a stack whose arm has one, made where the store lacks them."""
    twins: dict[str, Adapter] = {}
    for planned in run.plan.runs:
        if planned.run_id in adapters and twin_of(planned.arm) in run.plan.arms:
            name = run_id_of(twin_of(planned.arm), planned.replicate)
            with run.clock.stage("make random adapters"):
                key, trained = run.run_keys[planned.run_id], adapters[planned.run_id]
                seed = seed_for(run.plan.spec.seed, "null", planned.arm, planned.replicate)
                dataset, clip_skip = run.datasets[planned.arm], run.plan.spec.sample.clip_skip
                run.run_keys[name] = load_or_make_twin(run.store, run.base, key, trained, dataset, planned.train, seed, clip_skip)
            twin = load_run(run.store, run.base, run.run_keys[name])
            if twin is not None:
                twins[name] = twin
    return twins


def _link_adapters(run: StudyRun) -> None:
    """Lay every adapter file beside the study under its run's name, ready for other tools; a hard link where the disk allows it."""
    folder = run.folder / "loras"
    with disk_errors("writing the LoRA files"):
        folder.mkdir(parents=True, exist_ok=True)
        for run_id, key in run.run_keys.items():
            source, target = adapter_file(run.store, key), folder / f"{run_id}.safetensors"
            if not source.is_file():  # the run failed
                continue
            target.unlink(missing_ok=True)
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)


def _measure(run: StudyRun) -> Iterator[Event]:
    measures = study_measures(run.plan.spec)
    by_data = {run.plan.spec.arms[arm].data: dataset for arm, dataset in run.datasets.items()}
    companion, frames = companion_of(run.base), []
    with run.clock.stage("measure"):
        for done, total, frame in measure_blocks(run.store, list(run.blocks.values()), run.base_blocks(), by_data, measures, companion):
            frames.append(frame)
            yield Event("measure", done, total)
        run.readings = pl.concat(frames)
        _write_readings(run)
    with run.clock.stage("calibrate the instruments"):
        yield Event("calibrate", 0, 1)
        run.cards = load_or_make_cards(run.store, run.base, measures)
        yield Event("calibrate", 1, 1)


def _write_readings(run: StudyRun) -> None:
    scratch = run.folder / ".readings.parquet"
    with disk_errors("writing the readings"):
        run.readings.write_parquet(scratch)
        scratch.replace(run.folder / "readings.parquet")

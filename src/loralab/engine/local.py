"""Carries a study out on this machine: a plan comes in, events come out, and a report and its verdicts lie on disk at the end."""

from __future__ import annotations

import datetime
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import torch

from loralab.adapters import Adapter
from loralab.bases import Base, embed_prompts, load_base
from loralab.crew import Crew, crew_of, torch_threads
from loralab.engine.cards import load_or_make_cards
from loralab.engine.companions import companion_of
from loralab.engine.datasets import Dataset, make_dataset
from loralab.engine.events import Event, StageClock
from loralab.engine.images import KIND as IMAGES
from loralab.engine.images import KeyedBlock, block_key, draw_blocks, drop_mistaken, load_images
from loralab.engine.measuring import SCHEMA, measuring, study_measures
from loralab.engine.memory import sized
from loralab.engine.plan import BlockPlan, RunPlan, StudyPlan, make_plan, twin_of
from loralab.engine.plumbing import Plumbing, check_plumbing
from loralab.engine.sheets import contact_sheet
from loralab.engine.together import Member, load_or_make_together, together_key
from loralab.engine.training import KIND as ADAPTERS
from loralab.engine.training import adapter_file, adapter_key, load_or_make_twin, load_run, stacks_of, take_adapter, train_runs
from loralab.measure import Card
from loralab.portable import link_or_copy, replace_folder
from loralab.seeds import seed_for
from loralab.spec import BASE, AdapterSource, BaseSource, base_of, bases_of
from loralab.spec.elsewhere import adapter_files, named_path
from loralab.spec.load import Loaded, preset_of
from loralab.store import Store, append_line, disk_errors, read_lines, write_atomically

DRAW_BASE, DRAW_LORAS = "draw the base's images", "draw the LoRAs' images"


@dataclass
class StudyRun:
    """A study while it is carried out: its plan, its artefacts' keys, and what went wrong."""

    loaded: Loaded
    lab: Path
    store: Store
    plan: StudyPlan
    bases: dict[BaseSource, Base]  # the study's own first; the others are those that arms have for themselves
    clock: StageClock
    datasets: dict[str, Dataset] = field(default_factory=dict)
    run_keys: dict[AdapterSource, str] = field(default_factory=dict)
    failures: dict[AdapterSource, str] = field(default_factory=dict)
    blocks: dict[BlockPlan, KeyedBlock] = field(default_factory=dict)
    readings: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCHEMA))
    cards_of: dict[BaseSource, dict[str, Card]] = field(default_factory=dict)  # by base
    attempt: int = 1
    plumbing: Plumbing | None = None
    crew: Crew = field(default_factory=Crew)

    @property
    def folder(self) -> Path:
        """The study's folder in the lab."""
        return self.lab / "studies" / self.plan.spec.study

    @property
    def ledger(self) -> Path:
        """The append-only record of attempts."""
        return self.folder / "ledger.jsonl"

    @property
    def base(self) -> Base:
        """The study's own base."""
        return self.bases[BASE]

    @property
    def bases_sha256(self) -> str:
        """The fingerprints of all bases."""
        return ",".join(base.fingerprint for base in self.bases.values())

    def base_of(self, arm: str) -> Base:
        """Return the base that an arm is trained, drawn and compared on."""
        return self.bases[base_of(self.plan.spec, arm)]

    def base_blocks(self, base: BaseSource = BASE) -> dict[tuple[int, str], KeyedBlock]:
        """Return a base's blocks by (replicate, prompt)."""
        return {(b.plan.replicate, b.plan.prompt): b for b in self.blocks.values() if b.plan.source == base}


def open_study(loaded: Loaded, lab: Path, clock: StageClock) -> StudyRun:
    """Return the study ready to run: store opened, plan made, base loaded, files frozen, attempt noted."""
    store = Store(lab / "store")
    with clock.stage("load the base"):
        bases = load_bases(loaded)
        plan = sized(make_plan(loaded.spec), bases)
    drop_mistaken(store)
    run = StudyRun(loaded, lab, store, plan, bases, clock)
    freeze(run)
    return run


def load_bases(loaded: Loaded) -> dict[BaseSource, Base]:
    """Return the study's bases, its own first.

    What `load` says of a base's files (prediction, noise schedule, VAE) is about the study's own; the others are taken as they are.
    """
    own = loaded.spec.load
    if own.vae is not None:
        own = own.model_copy(update={"vae": resolve_base(loaded, own.vae)})
    others = own.model_copy(update={"prediction": None, "zero_terminal_snr": None, "vae": None})
    return {
        source: load_base(resolve_base(loaded, reference), own if source == BASE else others)
        for source, reference in bases_of(loaded.spec).items()
    }


def base_names(bases: Mapping[BaseSource, Base]) -> str:
    """Return what the bases of a study are called."""
    return "; ".join(base.name if source == BASE else f"{source}: {base.name}" for source, base in bases.items())


def resolve_base(loaded: Loaded, reference: str) -> str:
    """Return a base's reference; a relative folder is relative to the study file."""
    beside = named_path(reference, loaded.folder)
    return str(beside) if reference != "petri" and beside.exists() else reference


def freeze(run: StudyRun) -> None:
    """Write the study as it is run into its folder and append the attempt to the ledger."""
    before, verdicts = read_lines(run.ledger), preset_of(run.loaded).verdicts
    run.attempt = 1 + sum(1 for record in before if record.get("event") == "started")
    write_atomically(run.folder / "study.yaml", run.loaded.text.encode())
    append_line(run.ledger, {
        "event": "started", "attempt": run.attempt, "study_sha256": run.loaded.sha256, "preset": run.loaded.preset or "none",
        "verdicts": verdicts, "questions": sorted(set(run.loaded.questions.values())) if verdicts else None,
        "options": list(run.loaded.options), "base_sha256": run.bases_sha256,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    })  # fmt: skip


def carry_out(run: StudyRun) -> Iterator[Event]:
    """Do everything up to the readings: base images first, then stack by stack (train, draw), then measure."""
    with crew_of(run.plan.sizes.processes, torch.get_num_threads()) as run.crew:
        yield from _carry_out(run)


def _carry_out(run: StudyRun) -> Iterator[Event]:
    embeddings = {source: _embeddings(run, source) for source in run.plan.bases}
    for source in run.plan.bases:
        yield from _draw_base(run, source, embeddings[source])
    yield from _make_data(run)
    stacks = stacks_of(run.plan)
    here = [planned for planned in run.plan.runs if run.plan.spec.arms[planned.arm].trained_here]
    fresh = not any(run.store.has(ADAPTERS, run.run_keys[planned.source]) for planned in here)
    all_steps = sum(planned.train.steps for planned in here)
    for index, stack in enumerate(stacks):
        note = f"stack {index + 1} of {len(stacks)}"
        own = base_of(run.plan.spec, stack[0].arm)  # runs of one stack are on one base
        with run.clock.stage("train"):
            _apply_together(run, stack)
            for event in train_runs(run.store, run.bases[own], run.plan, run.datasets, run.run_keys, stack, run.crew):
                if fresh and not index:
                    run.clock.foretell("train", event.done * len(stack), all_steps)
                fraction = index * event.total + event.done
                yield Event("train", fraction, len(stacks) * event.total, f"{note}, {event.note}")
        yield Event("train", index + 1, len(stacks), note)
        yield from _draw_stack(run, stack, own, embeddings[own], index, len(stacks))
    _link_adapters(run)
    yield from _measure(run)


def _embeddings(run: StudyRun, base: BaseSource) -> dict[str, torch.Tensor]:
    own = (cell.prompt for cell in run.plan.cells if base_of(run.plan.spec, cell.arm) == base)
    prompts = [*dict.fromkeys([*own, run.plan.spec.sample.negative])]
    return dict(zip(prompts, embed_prompts(run.bases[base], prompts, clip_skip=run.plan.spec.sample.clip_skip), strict=True))


def _draw_base(run: StudyRun, base: BaseSource, embeddings: Mapping[str, torch.Tensor]) -> Iterator[Event]:
    blocks = [_keyed(run, block) for block in run.plan.blocks if block.source == base]
    shown = len(blocks) // (1 + max((block.plan.replicate for block in blocks), default=0))
    fresh = len(run.plan.bases) == 1 and _none_drawn(run, blocks)
    with run.clock.stage(DRAW_BASE):
        for done, total in _drawing(run, run.bases[base], blocks, {}, embeddings):
            if fresh:
                run.clock.foretell(DRAW_BASE, done, total)
            yield Event("draw", done, total, "the base's pictures" if base == BASE else f"pictures of the {base}")
            ready = [block for block in blocks[:shown] if run.store.has("images", block.key)]
            if run.clock.first_pictures_seconds is None and len(ready) == shown:
                path = run.folder / "first-pictures.png"
                write_atomically(path, contact_sheet([(b.plan.prompt, load_images(run.store, b)) for b in ready]))
                run.clock.mark_first_pictures()
                yield Event("draw", done, total, "first pictures: the base's own", str(path))


def _drawing(
    run: StudyRun,
    base: Base,
    blocks: Sequence[KeyedBlock],
    adapters: Mapping[AdapterSource, Adapter],
    embeddings: Mapping[str, torch.Tensor],
) -> Iterator[tuple[int, int]]:
    return draw_blocks(run.store, base, run.plan.spec.sample, blocks, adapters, embeddings, run.plan.sizes.images, run.crew)


def _none_drawn(run: StudyRun, blocks: Sequence[KeyedBlock]) -> bool:
    return not any(run.store.has(IMAGES, block.key) for block in blocks)


def _keyed(run: StudyRun, block: BlockPlan) -> KeyedBlock:
    source = run.run_keys[block.source] if isinstance(block.source, AdapterSource) else run.bases[block.source].fingerprint
    keyed = KeyedBlock(block, block_key(run.plan.spec.sample, block, source))
    run.blocks[block] = keyed
    return keyed


def _make_data(run: StudyRun) -> Iterator[Event]:
    with run.clock.stage("make the training sets"):
        for index, arm in enumerate(run.plan.trained_arms, start=1):
            run.datasets[arm] = make_dataset(run.store, run.base_of(arm), run.plan.spec, arm, run.loaded.folder)
            if not run.plan.spec.arms[arm].stack:
                _copy_dataset(run, arm)
            yield Event("data", index, len(run.plan.trained_arms), arm)
    for planned in run.plan.runs:
        spec = run.plan.spec.arms[planned.arm]
        if spec.adapters is not None:
            run.run_keys[planned.source] = _take(run, spec.adapters, planned, str(planned.source))
        elif not spec.stack:
            for step in (None, *run.plan.kept_steps(planned.arm)):
                key = adapter_key(run.base_of(planned.arm), planned, run.datasets[planned.arm], run.plan.spec, step)
                run.run_keys[AdapterSource(planned.arm, planned.replicate, step)] = key
    for planned in run.plan.runs:
        if run.plan.spec.arms[planned.arm].stack:
            run.run_keys[planned.source] = together_key(run.base_of(planned.arm), _members(run, planned))


def _take(run: StudyRun, pattern: str, planned: RunPlan, run_id: str) -> str:
    """Return the key of the file of ``pattern`` that belongs to a run: the one of its replicate, or the only one."""
    files = adapter_files(pattern, run.loaded.folder)
    file = files[planned.replicate if len(files) > 1 else 0]
    return take_adapter(run.store, run.base_of(planned.arm), file, run_id, run.datasets[planned.arm])


def _members(run: StudyRun, planned: RunPlan) -> list[Member]:
    """Return the LoRAs that a run of several is made of: their keys, and their strengths there."""
    found = []
    for lora in run.plan.spec.arms[planned.arm].stack:
        if lora.arm is None:
            found.append(Member(_take(run, str(lora.adapters), planned, f"{planned.source}, {lora}"), *lora.strengths))
            continue
        runs = [other.source for other in run.plan.runs if other.arm == lora.arm]
        found.append(Member(run.run_keys[runs[planned.replicate if len(runs) > 1 else 0]], *lora.strengths))
    return found


def _apply_together(run: StudyRun, stack: list[AdapterSource]) -> None:
    """Make those LoRAs of a stack that are several applied together; what they are made of lies in the store by then."""
    for planned in run.plan.runs:
        arm = run.plan.spec.arms[planned.arm]
        if planned.source in stack and arm.stack:
            says = {"loralab.study": run.plan.spec.study, "loralab.arm": planned.arm, "loralab.replicate": str(planned.replicate)}
            says["loralab.stack"] = "; ".join(map(str, arm.stack))
            load_or_make_together(run.store, run.base_of(planned.arm), _members(run, planned), str(planned.source), says)


def _copy_dataset(run: StudyRun, arm: str) -> None:
    """Lay the arm's training set, a kohya folder, beside the study for other trainers to use."""
    target = run.folder / "datasets" / arm
    with disk_errors("writing the training sets"):
        scratch = target.with_name(f".{arm}.{os.getpid()}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(run.datasets[arm].folder, scratch, ignore=shutil.ignore_patterns("manifest.json"))
        replace_folder(scratch, target)


def _draw_stack(
    run: StudyRun, stack: list[AdapterSource], own: BaseSource, embeddings: Mapping[str, torch.Tensor], index: int, n_stacks: int
) -> Iterator[Event]:
    base, adapters = run.bases[own], dict[AdapterSource, Adapter]()
    for source in stack:
        adapter = load_run(run.store, base, run.run_keys[source])
        if adapter is None:
            run.failures[source] = str(run.store.manifest(ADAPTERS, run.run_keys[source])["failed"])
        else:
            adapters[source] = adapter
    _check_plumbing(run, base, adapters, embeddings)
    adapters |= _null_twins(run, adapters)
    drawn = [block for block in run.plan.blocks if block.adapter is not None and block.adapter.run in adapters]
    blocks = [_keyed(run, block) for block in drawn]
    for source in {block.adapter for block in drawn if block.adapter is not None} - {*adapters}:
        checkpoint = load_run(run.store, base, run.run_keys[source])
        if checkpoint is not None:  # a run that ended well had not stopped before
            adapters[source] = checkpoint
    fresh = not index and _none_drawn(run, blocks)
    all_images = sum(len(block.seeds) for block in run.plan.blocks if block.adapter is not None)
    with run.clock.stage(DRAW_LORAS):
        for done, total in _drawing(run, base, blocks, adapters, embeddings):
            if fresh:
                run.clock.foretell(DRAW_LORAS, done, all_images)
            yield Event("draw", index * total + done, n_stacks * total, f"the LoRAs' pictures, stack {index + 1} of {n_stacks}")


def _check_plumbing(run: StudyRun, base: Base, adapters: Mapping[AdapterSource, Adapter], embeddings: Mapping[str, torch.Tensor]) -> None:
    """Compare strength 0 and 1 with the base, for the first run of every arm in the stack that was in none before."""
    before = run.plumbing or Plumbing({}, {})
    seen = {source.arm for source in before.same_at_zero}
    first = {its.arm: its.source for its in reversed(run.plan.runs) if its.source in adapters and its.arm not in seen}
    chosen = {source: adapters[source] for source in sorted(first.values(), key=str)}
    if not chosen:
        return
    prompts = (cell.prompt for cell in run.plan.cells if not cell.is_base and cell.prompt in embeddings)
    prompt = next(prompts, run.plan.spec.sample.negative)  # on a base that is trained on and never drawn, the only one embedded
    with run.clock.stage("check the plumbing"):
        found = check_plumbing(run.store, base, run.plan.spec.sample, chosen, run.run_keys, prompt, embeddings)
    run.plumbing = Plumbing({**before.same_at_zero, **found.same_at_zero}, {**before.moved_at_one, **found.moved_at_one})


def _null_twins(run: StudyRun, adapters: Mapping[AdapterSource, Adapter]) -> dict[AdapterSource, Adapter]:
    """Return the random twins of those runs of a stack whose arm has one, made where the store lacks them."""
    twins: dict[AdapterSource, Adapter] = {}
    for planned in run.plan.runs:
        if planned.source in adapters and twin_of(planned.arm) in run.plan.arms:
            name = AdapterSource(twin_of(planned.arm), planned.replicate)
            with run.clock.stage("make random adapters"):
                key, trained = run.run_keys[planned.source], adapters[planned.source]
                seed = seed_for(run.plan.spec.seed, "null", planned.arm, planned.replicate)
                dataset, clip_skip = run.datasets[planned.arm], run.plan.spec.sample.clip_skip
                base = run.base_of(planned.arm)
                run.run_keys[name] = load_or_make_twin(run.store, base, key, trained, dataset, planned.train, seed, clip_skip)
            twin = load_run(run.store, base, run.run_keys[name])
            if twin is not None:
                twins[name] = twin
    return twins


def _link_adapters(run: StudyRun) -> None:
    """Lay every adapter file beside the study under its run's name, ready for other tools; a hard link where the disk allows it."""
    folder = run.folder / "loras"
    with disk_errors("writing the LoRA files"):
        folder.mkdir(parents=True, exist_ok=True)
        for named, key in run.run_keys.items():
            source, target = adapter_file(run.store, key), folder / f"{named}.safetensors"
            if not source.is_file():  # the run failed
                continue
            link_or_copy(source, target)


def _measure(run: StudyRun) -> Iterator[Event]:
    """Measure base by base, in processes beside this one, which makes the instruments' cards meanwhile."""
    frames, before = [], 0
    with _measuring_crew(run.crew) as crew:
        for index, name in enumerate(run.plan.bases):
            blocks = [block for block in run.blocks.values() if base_of(run.plan.spec, block.plan.who) == name]
            measures, companion = study_measures(run.plan.spec, name), companion_of(run.bases[name])
            by_data, beneath = _datasets_on(run, name), run.base_blocks(name)
            with measuring(run.store, blocks, beneath, by_data, measures, companion, crew) as found:
                with run.clock.stage("calibrate the instruments"), torch_threads(1):
                    yield Event("calibrate", index, len(run.plan.bases))
                    run.cards_of[name] = load_or_make_cards(run.store, run.bases[name], measures)
                    yield Event("calibrate", index + 1, len(run.plan.bases))
                with run.clock.stage("measure"):
                    for done, _, frame in found:
                        frames.append(frame)
                        yield Event("measure", before + done, len(run.blocks))
            before += len(blocks)
    run.readings = pl.concat(frames)
    _write_readings(run)


@contextmanager
def _measuring_crew(crew: Crew) -> Iterator[Crew]:
    """Give the block the crew that has trained and drawn, or one of its own: instruments gain by processes on every machine."""
    if crew.n > 1:
        yield crew
        return
    with crew_of(torch.get_num_threads(), torch.get_num_threads()) as own:
        yield own


def _datasets_on(run: StudyRun, name: BaseSource) -> dict[str, Dataset]:
    """Return the training sets by data as pictures on the base ``name`` are held against them; its own arms' win."""
    arms = sorted(run.datasets, key=lambda arm: base_of(run.plan.spec, arm) == name)  # the last of equal data stays
    size = run.bases[name].size_px
    return {run.plan.spec.arms[arm].data: run.datasets[arm] for arm in arms if run.base_of(arm).size_px == size}


def _write_readings(run: StudyRun) -> None:
    content = io.BytesIO()
    run.readings.write_parquet(content)
    write_atomically(run.folder / "readings.parquet", content.getvalue())

"""The bench: a prompt, LoRAs, strengths and seeds in; pictures in the store out, through the stages of a study, each drawn once.

The base stays in memory. One request is drawn at a time; how far it is can be asked meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loralab.adapters import load_adapter
from loralab.bases import Base, load_base
from loralab.checking.listing import list_files
from loralab.cost.memory import image_batch
from loralab.errors import LabError, lab_error
from loralab.spec import BASE, AdapterSource, LoadSpec, SampleSpec, Source
from loralab.spec.elsewhere import named_path
from loralab.stages import run_stage
from loralab.stages.cards import facts_of
from loralab.stages.images import text_of
from loralab.stages.trained import load_from
from loralab.store import Ref, Store
from loralab.study import keys
from loralab.study.plan import BlockPlan
from loralab.study.result import RESULT_FILE, StudyResult, load_result
from loralab.study.slices import DrawSlice, ImportSlice
from loralab.viewing.asked import Chosen, DrawAsked
from loralab.work.events import StageClock
from loralab.work.execute import execute
from loralab.work.inline import Inline
from loralab.work.processes import with_processes
from loralab.work.task import Group, Task


@dataclass
class Opened:
    """The base in memory, and what draws with it."""

    base: Base
    executor: Inline


@dataclass
class Bench:
    """What stays while the page is open."""

    lab: Path
    base: str
    load: LoadSpec = field(default_factory=lambda: LoadSpec(side_by_side=False))
    files: tuple[Path, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: float = 0.0
    total: float = 0.0
    _opened: Opened | None = None
    _results: dict[tuple[Path, int], StudyResult] = field(default_factory=dict)

    def opened(self) -> Opened:
        """Return the base, read at the first call; raises LabError where it cannot be used."""
        if self._opened is None:
            base = load_base(self.base, self.load)
            self._opened = Opened(base, with_processes({base.fingerprint: base}, 1, run_stage))
        return self._opened

    def result(self, study: str) -> StudyResult:
        """Return what a study of the lab made, read once as long as it stays the same; raises LabError("spec") where it is none."""
        known = {folder.name for folder in (self.lab / "studies").iterdir()} if (self.lab / "studies").is_dir() else set()
        file = self.lab / "studies" / study / RESULT_FILE
        if study not in known or not file.is_file():
            raise lab_error("spec", f"no finished study {study!r} in this lab", ", ".join(sorted(known)) or "none yet")
        key = (file, file.stat().st_mtime_ns)
        if key not in self._results:
            self._results[key] = load_result(self.lab, study)
        return self._results[key]


# --- what can be chosen -------------------------------------------------------------------------------------------------


def choices(bench: Bench) -> dict[str, Any]:
    """Return what the bench offers: arms of the lab's studies that were trained on its base, and the files that were named."""
    with bench.lock:
        base = bench.opened().base
    arms, notes = list[dict[str, Any]](), list[str]()
    for name in sorted(folder.parent.name for folder in (bench.lab / "studies").glob(f"*/{RESULT_FILE}")):
        try:
            found = list(_arms_of(bench.result(name), base))
        except LabError as error:
            notes.append(f"{name}: {error.problems[0].found}")
            continue
        arms += found
        if not found:
            notes.append(f"{name}: its LoRAs are for a different base")
    files, passed_over = list_files(bench.files) if bench.files else ([], [])
    return {
        "base": base.name, "size_px": base.size_px, "arms": arms, "files": [str(item.path) for item in files],
        "notes": [*notes, *passed_over], "sample": SampleSpec().model_dump(mode="json", include={"steps", "guidance", "sampler"}),
    }  # fmt: skip


def _arms_of(result: StudyResult, base: Base) -> Iterator[dict[str, Any]]:
    for arm in dict.fromkeys(source.arm for source in result.adapters):
        own = [source for source in result.adapters if source.arm == arm and source.run not in result.failures]
        if own and result.base_of(arm).fingerprint == base.fingerprint:
            trainings = sorted({source.replicate for source in own if source.step is None})
            steps = sorted({source.step for source in own if source.step is not None})
            yield {"study": result.spec.study, "arm": arm, "trainings": trainings, "steps": steps, "prompts": _prompts_of(result, arm)}


def _prompts_of(result: StudyResult, arm: str) -> list[str]:
    return list(dict.fromkeys(block.prompt for block in result.images if block.who == arm))[:8]


# --- drawing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Pictures of one source at one strength, a block a seed: so that each picture is found again, whatever stands beside it."""

    label: str
    strength: float | None
    blocks: dict[BlockPlan, Ref]
    adapter: Task | Ref | None = None
    rank: int = 1


def draw(bench: Bench, asked: DrawAsked) -> dict[str, Any]:
    """Return the rows of pictures, the base's first, behind drawing what the store lacks; raises LabError."""
    with bench.lock:
        started, opened, store = time.monotonic(), bench.opened(), Store(bench.lab / "store")
        rows = list(_rows(bench, opened, asked, store))
        missing = [(row, block, ref) for row in rows for block, ref in row.blocks.items() if not store.has(*ref)]
        groups = _groups(bench, opened, asked, missing)
        bench.done, bench.total = 0.0, float(len(missing))
        for event in execute(groups, store, opened.executor, StageClock()):
            if event.stage == "draw":
                bench.done = event.done
        shown = [
            {"label": row.label, "strength": row.strength, "pictures": [
                {"seed": block.seeds[0], "address": f"picture/{ref.key}/{block.seeds[0]}"} for block, ref in row.blocks.items()
            ]} for row in rows
        ]  # fmt: skip
        return {"rows": shown, "drawn": len(missing), "seconds": round(time.monotonic() - started, 2), "prompt": asked.prompt}


def _rows(bench: Bench, opened: Opened, asked: DrawAsked, store: Store) -> Iterator[Row]:
    fingerprint = opened.base.fingerprint
    yield Row("the base", None, dict(_blocks(asked, BASE, 0.0, fingerprint)))
    for place, chosen in enumerate(asked.chosen):
        adapter, rank = _adapter(bench, opened, chosen, store)
        ref = adapter.ref if isinstance(adapter, Task) else adapter
        for strength in asked.strengths:  # the place tells two of one name apart
            blocks = dict(_blocks(asked, AdapterSource(chosen.label, place), strength, ref.key))
            yield Row(chosen.label, strength, blocks, adapter, rank)


def _blocks(asked: DrawAsked, source: Source, strength: float, drawn_by: str) -> Iterator[tuple[BlockPlan, Ref]]:
    for seed in asked.seeds:
        block = BlockPlan(source, 0, asked.prompt, strength, (seed,))
        yield block, keys.block_ref(asked.sample, block, drawn_by)


def _adapter(bench: Bench, opened: Opened, chosen: Chosen, store: Store) -> tuple[Task | Ref, int]:
    """Return where a training's adapter lies, or what takes a file into the store, and its rank; raises LabError where there is none."""
    base, once = opened.base, opened.executor.place.once
    if chosen.file:
        path = named_path(chosen.file, Path()).absolute()
        stamp = path.stat().st_mtime_ns if path.is_file() else 0
        rank = once(("rank", path, stamp), lambda: load_adapter(path, base, follow_links=True).rank)
        return Task(keys.imported_ref(facts_of(base), path), ImportSlice(path, chosen.label)), rank
    result, source = bench.result(chosen.study), AdapterSource(chosen.arm, chosen.training, chosen.step)
    ref = result.adapters.get(source)
    if ref is None or source.run in result.failures or not store.has(*ref):
        known = ", ".join(dict.fromkeys(each.arm for each in result.adapters))
        raise lab_error("spec", f"no LoRA {source} in the study {chosen.study}", f"a training of {known}")
    if result.base_of(chosen.arm).fingerprint != base.fingerprint:
        raise lab_error("spec", f"{source} was trained on a different base", base.name, "open the bench with that base, using --base")
    adapter = once((base.fingerprint, ref), lambda: load_from(store.path(*ref), base))  # as the stage of pictures keeps it
    return ref, 1 if adapter is None else adapter.rank


def _groups(bench: Bench, opened: Opened, asked: DrawAsked, missing: Sequence[tuple[Row, BlockPlan, Ref]]) -> list[Group]:
    base, rank = opened.base, max((row.rank for row, _, _ in missing), default=1)
    drawing = DrawSlice(asked.sample, (asked.prompt,), image_batch(base, asked.sample, bench.load, rank))
    text_of(opened.executor.place, base, drawing)  # a prompt that cannot be read is told before anything is drawn
    takes = dict.fromkeys(row.adapter for row, _, _ in missing if isinstance(row.adapter, Task))
    tasks = tuple(Task(ref, block, _inputs(row)) for row, block, ref in missing)
    taking = [Group("imported", "take the LoRA files", (task,), None, base.fingerprint) for task in takes]
    return [*taking, Group("images", "draw", tasks, drawing, base.fingerprint, "draw", "", len(tasks))] if tasks else []


def _inputs(row: Row) -> tuple[Ref, ...]:
    if row.adapter is None:
        return ()
    return (row.adapter.ref if isinstance(row.adapter, Task) else row.adapter,)

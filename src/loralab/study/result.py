"""What a study found, rebuilt from its lab alone: readings, verdicts, pictures by source, provenance; no base in memory.

`result.json` in the study's folder says under which keys everything lies; what is judged or reported is read from there, so that judging
again measures nothing again, and reporting again draws nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loralab.data import read_folder
from loralab.errors import lab_error
from loralab.infer.pairs import with_sources
from loralab.infer.verdict import Verdict, verdict_from_json
from loralab.measure import Card
from loralab.spec import BASE, AdapterSource, BaseSource, Cell, LoadSpec, StudySpec, base_of
from loralab.spec.load import Loaded, preset_of, resolved_again
from loralab.spec.questions import QuestionId
from loralab.spec.sources import spelled, whose
from loralab.store import MANIFEST, Ref, canonical_json, read_lines, write_atomically
from loralab.study.facts import BaseFacts
from loralab.study.plan import BlockPlan, Sizes, StudyPlan, block_of, make_plan, seeds_of

RESULT_FILE, READINGS_FILE, VERDICTS_FILE = "result.json", "readings.parquet", "verdicts.json"
LEDGER_FILE = "ledger.jsonl"
VERSION = 1


@dataclass(frozen=True)
class StudyResult:
    """A finished study; what it holds is what lies in the lab."""

    lab: Path
    loaded: Loaded
    sizes: Sizes
    bases: Mapping[BaseSource, BaseFacts]
    datasets: Mapping[str, Ref]  # by arm
    adapters: Mapping[AdapterSource, Ref]
    images: Mapping[BlockPlan, Ref]
    failures: Mapping[AdapterSource, str]
    same_at_zero: Mapping[AdapterSource, bool]
    moved_at_one: Mapping[AdapterSource, float]
    cards: Mapping[BaseSource, Mapping[str, Card]]
    training: Mapping[tuple[str, str], float | None]  # (arm, measure) -> the mean reading of the training set
    regularisation: Mapping[str, Ref] = field(default_factory=dict)  # by arm, where it has regularisation pictures

    @property
    def spec(self) -> StudySpec:
        """The study as it was resolved."""
        return self.loaded.spec

    @property
    def folder(self) -> Path:
        """The study's folder in the lab."""
        return study_folder(self.lab, self.spec.study)

    @property
    def bases_sha256(self) -> str:
        """The fingerprints of all bases."""
        return ",".join(base.fingerprint for base in self.bases.values())

    @cached_property
    def plan(self) -> StudyPlan:
        """What the study needed; of a study in rounds, what the rounds made."""
        whole = replace(make_plan(self.spec), sizes=self.sizes)
        runs = tuple(run for run in whole.runs if run.source in self.adapters)
        if len(runs) == len(whole.runs):
            return whole
        return replace(whole, runs=runs, blocks=tuple(block for block in whole.blocks if block in self.images))

    @cached_property
    def readings(self) -> pl.DataFrame:
        """One row a reading: docs/contracts.md has the columns."""
        return with_sources(pl.read_parquet(self.folder / READINGS_FILE))

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What was judged; empty where the preset prints no verdicts."""
        file = self.folder / VERDICTS_FILE
        if not file.is_file() or not preset_of(self.loaded).verdicts:  # those of an earlier run with another preset are not this one's
            return ()
        return tuple(verdict_from_json(row) for row in json.loads(file.read_text(encoding="utf-8"))["verdicts"])

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The ledger: what was attempted, and how long it took."""
        return read_lines(self.folder / LEDGER_FILE)

    @property
    def finished(self) -> Mapping[str, Any]:
        """What the ledger says of the last attempt that was finished: times, versions, device; empty while there is none."""
        return next((record for record in reversed(self.records) if record["event"] == "finished"), {})

    @property
    def page(self) -> Path:
        """The report's page."""
        return self.folder / "report" / "index.html"

    def path(self, ref: Ref) -> Path:
        """Return the folder of an artefact."""
        return self.lab / "store" / ref.kind / ref.key

    def base_of(self, arm: str) -> BaseFacts:
        """Return the base that an arm was trained, drawn and compared on."""
        return self.bases[base_of(self.spec, arm)]

    def replicates(self, cell: Cell) -> list[int]:
        """Return the trainings of which a cell has pictures (for a base, those beside which it was drawn)."""
        return sorted({block.replicate for block in self.images if block.who == cell.arm})

    def pictures(self, cell: Cell, replicate: int) -> dict[int, Path]:
        """Return the files of a training's pictures in a cell, by image seed; empty where it has none."""
        block = block_of(cell, replicate, seeds_of(replicate, self.spec.sample.seeds))
        ref = self.images.get(block)
        return {} if ref is None else {seed: self.path(ref) / f"{seed:08d}.png" for seed in block.seeds}

    def training_set(self, arm: str) -> tuple[Sequence[np.ndarray], Sequence[str], Sequence[str]]:
        """Return the training set of an arm: its pictures (H, W, 3) uint8, their captions, and notes on how it was read."""
        folder = self.path(self.datasets[arm])
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        images = [example.image for example in read_folder(folder, self.base_of(arm).size_px).examples]
        taught = [row["caption"] for row in told.get("pictures", ()) if not row["options"]["is_reg"]]
        return images, told.get("captions", taught), told["notes"]


def set_notes(result: StudyResult, arm: str) -> list[str]:
    """Return notes on how an arm's training set was read, and its regularisation pictures."""
    found = []
    for what, refs in (("training set", result.datasets), ("regularisation pictures", result.regularisation)):
        notes = json.loads((result.path(refs[arm]) / MANIFEST).read_text(encoding="utf-8"))["notes"] if arm in refs else []
        found += [f"{what} of {arm}: {note}" for note in notes]
    return found


def study_folder(lab: Path, name: str) -> Path:
    """Return the folder of a study in a lab."""
    return lab / "studies" / name


# --- to the lab and back ------------------------------------------------------------------------------------------------


def save_result(result: StudyResult) -> None:
    """Write what names everything else; the same study gives the same bytes."""
    loaded, spec = result.loaded, result.spec
    document = {
        "version": VERSION,
        "text": loaded.text, "preset": loaded.preset, "options": loaded.options, "file": loaded.file,
        "recipes": {name: arm.train for name, arm in spec.arms.items()}, "load": spec.load.model_dump(mode="json"),
        "questions": [[*asdict(question).values(), text] for question, text in loaded.questions.items()],
        "sizes": asdict(result.sizes), "bases": {spelled(base): asdict(facts) for base, facts in result.bases.items()},
        "datasets": {arm: ref.key for arm, ref in result.datasets.items()},
        **({"regularisation": {arm: ref.key for arm, ref in result.regularisation.items()}} if result.regularisation else {}),
        "adapters": [[*asdict(source).values(), ref.key] for source, ref in result.adapters.items()],
        "images": [_block_row(block, ref) for block, ref in result.images.items()],
        "failures": [[*asdict(source).values(), reason] for source, reason in result.failures.items()],
        "plumbing": [[*asdict(source).values(), same, result.moved_at_one[source]] for source, same in result.same_at_zero.items()],
        "cards": {spelled(base): [asdict(card) for card in cards.values()] for base, cards in result.cards.items()},
        "training": [[arm, measure, value] for (arm, measure), value in result.training.items()],
    }  # fmt: skip
    write_atomically(result.folder / RESULT_FILE, (canonical_json(document) + "\n").encode())


def load_result(lab: Path, name: str) -> StudyResult:
    """Return a study's result from its folder in the lab; raises LabError("spec") with the studies that there are."""
    folder = study_folder(lab, name)
    file = folder / RESULT_FILE
    if not file.is_file():
        known = sorted(found.parent.name for found in folder.parent.glob(f"*/{RESULT_FILE}"))
        expected = f"one of {', '.join(known) or '(none yet)'}"
        raise lab_error("spec", f"this lab has no finished study {name!r}", expected, "run it with `loralab run STUDY`")
    told = json.loads(file.read_text(encoding="utf-8"))
    questions = {QuestionId(experiment, kind, index): text for experiment, kind, index, text in told["questions"]}
    spec = resolved_again(told["text"], told["preset"], told["recipes"], LoadSpec.model_validate(told["load"]))
    loaded = Loaded(spec, told["text"], folder, told["preset"], questions, tuple(told["options"]), told["file"])
    plumbing = {AdapterSource(*row[:3]): row[3:] for row in told["plumbing"]}
    return StudyResult(
        lab, loaded, Sizes(**told["sizes"]), {_base(name): _facts(row) for name, row in told["bases"].items()},
        {arm: Ref("data", key) for arm, key in told["datasets"].items()},
        {AdapterSource(arm, r, step): Ref("adapters", key) for arm, r, step, key in told["adapters"]},
        dict(_blocks(told["images"])),
        {AdapterSource(arm, r, step): reason for arm, r, step, reason in told["failures"]},
        {source: bool(same) for source, (same, _) in plumbing.items()}, {source: float(moved) for source, (_, moved) in plumbing.items()},
        {_base(name): {row["name"]: Card(**row) for row in rows} for name, rows in told["cards"].items()},
        {(arm, measure): value for arm, measure, value in told["training"]},
        {arm: Ref("data", key) for arm, key in told.get("regularisation", {}).items()},
    )  # fmt: skip


def _base(name: str) -> BaseSource:
    found = whose(name)
    return found if isinstance(found, BaseSource) else BASE


def _facts(row: Mapping[str, Any]) -> BaseFacts:
    lists = {name: tuple(row[name]) for name in ("concepts", "shipped_cards")}
    return BaseFacts(**{**row, **lists})


def _block_row(block: BlockPlan, ref: Ref) -> list[Any]:
    return [spelled(block.who), block.replicate, block.step, block.prompt, block.strength, list(block.seeds), ref.key]


def _blocks(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[BlockPlan, Ref]]:
    for name, replicate, step, prompt, strength, seeds, key in rows:
        who = whose(name)
        source = who if isinstance(who, BaseSource) else AdapterSource(who, replicate, step)
        yield BlockPlan(source, replicate, prompt, strength, tuple(seeds)), Ref("images", key)

"""A study in rounds: look after 8 trainings of each arm, go on only with what is open, look again at 16 and at 32.

In: a study's plan, and what makes a part of it. Out: its result and verdicts, each from the look that settled or gave up its question.
What a round holds is a pure function of the verdicts before it, and the ledger has what each look took: a study that was killed and is
started again makes the same rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loralab.infer.looks import PLANNED, Looks
from loralab.infer.rounds import Round, first_round, next_round
from loralab.infer.verdict import Verdict
from loralab.spec import Cell, base_of
from loralab.spec.load import Loaded
from loralab.spec.models import ArmSpec, StudySpec
from loralab.spec.questions import question_ids
from loralab.spec.sources import Who
from loralab.store import append_line, read_lines
from loralab.study.judging import judge_result, looks_made
from loralab.study.plan import BlockPlan, StudyPlan, twin_of
from loralab.study.result import StudyResult


def with_looks(loaded: Loaded, option: str, looks: Looks = PLANNED) -> Loaded:
    """Return a study whose arms are trained as often as the last look needs; LoRAs from elsewhere stay as many as they are."""
    spec = loaded.spec
    arms = {name: _as_often(spec, arm, looks) for name, arm in spec.arms.items()}
    return replace(loaded, spec=spec.model_copy(update={"arms": arms}), options=(*loaded.options, option))


def _as_often(spec: StudySpec, arm: ArmSpec, looks: Looks) -> ArmSpec:
    members = [spec.arms[member.arm].trained_here if member.arm in spec.arms else False for member in arm.stack]
    if not (arm.trained_here or (arm.stack and all(members))):
        return arm
    return arm.model_copy(update={"train": {**arm.train, "replicates": looks.last}})


def limited(plan: StudyPlan, trainings: Mapping[Cell, int]) -> StudyPlan:
    """Return the part of a plan in which each cell of an arm has so many trainings; bases as many as any cell above them has."""
    spec = plan.spec
    per_arm, per_base = _most(spec, trainings)
    runs = tuple(run for run in plan.runs if run.replicate < per_arm.get(run.arm, 0))
    blocks = tuple(block for block in plan.blocks if block.replicate < _wanted(block, trainings, per_base))
    return replace(plan, runs=runs, blocks=blocks)


def _most(spec: StudySpec, trainings: Mapping[Cell, int]) -> tuple[dict[str, int], dict[tuple[Who, str], int]]:
    """Return the trainings of each arm (those in stacks and of random twins too), and of each base at each prompt."""
    per_arm: dict[str, int] = {}
    per_base: dict[tuple[Who, str], int] = {}
    for cell, n in trainings.items():
        base = cell.arm if cell.is_base else base_of(spec, cell.arm)
        per_base[base, cell.prompt] = max(n, per_base.get((base, cell.prompt), 0))
        if not cell.is_base:
            arm = str(cell.arm)
            members = [member.arm for member in spec.arms[arm].stack if member.arm is not None]
            twins = [name for name in spec.arms if twin_of(name) == arm]
            for name in (arm, *members, *twins):
                per_arm[name] = max(n, per_arm.get(name, 0))
    return per_arm, per_base


def _wanted(block: BlockPlan, trainings: Mapping[Cell, int], per_base: Mapping[tuple[Who, str], int]) -> int:
    if block.adapter is None:
        return per_base.get((block.who, block.prompt), 0)
    return trainings.get(Cell(block.who, block.prompt, block.strength, block.step), 0)


@dataclass(frozen=True)
class Budget:
    """How long a study may go on; as long as anything is open where ``minutes`` is None."""

    minutes: float | None = None
    looks: Looks = PLANNED

    def affords(self, spent_seconds: float, next_seconds: float) -> bool:
        """Return whether the next round still fits."""
        return self.minutes is None or spent_seconds + next_seconds <= 60 * self.minutes


def run_rounds(
    whole: StudyPlan, make: Callable[[StudyPlan], StudyResult], ledger: Path, budget: Budget
) -> tuple[StudyResult, list[Verdict]]:  # fmt: skip
    """Return the result of the last round that was made and its verdicts, those of settled questions as they were when they were settled.

    ``make`` carries out a part of the plan and returns the study's result as it then stands; what was made before it finds.
    """
    looks = budget.looks
    current = first_round(whole.cells, list(question_ids(whole.spec)), looks)
    trainings: dict[Cell, int] = {}
    while True:
        began, before = time.perf_counter(), limited(whole, trainings).n_images if trainings else 0
        trainings |= dict.fromkeys(current.cells, current.trainings)
        plan = limited(whole, trainings)
        result = make(plan)
        _note(ledger, result.loaded.sha256, current, time.perf_counter() - began, plan.n_images - before)
        verdicts = judge_result(result, current.trainings)
        ahead = next_round(verdicts, whole.spec.experiments, whole.controls, whole.curves, current, looks, whole.effects)
        if ahead is None:
            return result, verdicts
        further = limited(whole, {**trainings, **dict.fromkeys(ahead.cells, ahead.trainings)})
        if not _goes_on(looks_made(read_lines(ledger), result.loaded.sha256), ahead, budget, further.n_images - plan.n_images):
            return result, verdicts
        current = ahead


def _note(ledger: Path, sha256: str, done: Round, seconds: float, pictures: int) -> None:
    """Write a look into the ledger, where it is not there: what it took is what it took the first time."""
    if any(record["trainings"] == done.trainings for record in looks_made(read_lines(ledger), sha256)):
        return
    append_line(ledger, {
        "event": "look", "study_sha256": sha256, "trainings": done.trainings, "questions": len(done.questions), "arms": list(done.arms),
        "seconds": round(seconds, 1), "pictures": pictures,
    })  # fmt: skip


def _goes_on(made: Sequence[Mapping[str, Any]], ahead: Round, budget: Budget, pictures: int) -> bool:
    """Return whether the next round is made: it was made before, or it fits into the time, by what the pictures so far have taken."""
    if any(record["trainings"] == ahead.trainings for record in made):
        return True
    spent = sum(float(record["seconds"]) for record in made)
    return budget.affords(spent, spent / max(1, sum(int(record["pictures"]) for record in made)) * pictures)

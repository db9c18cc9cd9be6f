"""From a study's result to what its explorer shows: every picture that was drawn with what was read off it, claims with their cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from loralab.infer.verdict import Verdict, read_by
from loralab.measure import TABLE
from loralab.report.explorer.records import Asked, Explored, Shown, claim_key
from loralab.report.words import CHIPS
from loralab.spec import Cell, base_of, is_base
from loralab.spec.questions import question_of
from loralab.spec.sources import spelled
from loralab.study.measures import plain_measure
from loralab.study.plan import BlockPlan
from loralab.study.result import StudyResult

#: where a picture stands: (arm or base, prompt, training, seed, strength, step)
Place = tuple[str, str, int, int, float, int | None]


def explored_of(result: StudyResult) -> Explored:
    """Return everything that the explorer of a finished study shows."""
    readings = _readings(result)
    measures = list(dict.fromkeys(measure for found in readings.values() for measure in found))
    return Explored(
        study=result.spec.study, about=result.spec.about, base="; ".join(facts.name for facts in result.bases.values()),
        pictures=tuple(_shown(result, readings)), claims=tuple(_asked(result, verdict) for verdict in result.verdicts),
        units={measure: TABLE[plain_measure(measure)].unit for measure in measures},
        training={arm: files for arm in result.datasets if (files := _training_files(result, arm))},
        captions={arm: tuple(result.training_set(arm)[1]) for arm in result.datasets},
    )  # fmt: skip


def _readings(result: StudyResult) -> Mapping[Place, dict[str, float | None]]:
    """Return the readings of each picture; None where it could not be measured."""
    found: dict[Place, dict[str, float | None]] = defaultdict(dict)
    columns = ("arm", "prompt", "replicate", "seed", "strength", "step", "measure", "value", "is_base")
    for arm, prompt, replicate, seed, strength, step, measure, value, own in result.readings.select(columns).iter_rows():
        place = (arm, prompt, replicate, seed, 0.0 if own else strength, None if own else step)
        found[place][measure] = value
    return found


def _shown(result: StudyResult, readings: Mapping[Place, Mapping[str, float | None]]) -> Iterator[Shown]:
    for block, ref in sorted(result.images.items(), key=lambda item: _order(result, item[0])):
        arm, own = spelled(block.who), is_base(block.who)
        base = "" if own else spelled(base_of(result.spec, block.who))
        for seed in block.seeds:
            file = result.path(ref) / f"{seed:08d}.png"
            strength = 0.0 if own else block.strength
            found = readings.get((arm, block.prompt, block.replicate, seed, strength, block.step), {})
            yield Shown(file, arm, block.prompt, block.replicate + 1, seed, strength, block.step, base, found)


def _order(result: StudyResult, block: BlockPlan) -> tuple[int, int, str, int, float, float]:
    """Bases first, then arms in the order of the file; within them prompts in the order in which the plan draws them."""
    arms = list(result.spec.arms)
    place = -1 if is_base(block.who) else arms.index(str(block.who)) if block.who in arms else len(arms)
    prompts = list(dict.fromkeys(cell.prompt for cell in result.plan.cells))
    step = float("inf") if block.step is None else float(block.step)
    return place, prompts.index(block.prompt), spelled(block.who), block.replicate, block.strength, step


def _asked(result: StudyResult, verdict: Verdict) -> Asked:
    question = question_of(result.spec, verdict.question)
    cells = [question.cell, *([question.versus_cell] if hasattr(question, "versus_cell") else [])]
    if verdict.kind == "curve":
        drawn = [(block.who, block.prompt, block.strength, block.step) for block in result.images]
        cells = [Cell(*place) for cell in cells for place in drawn if place[:2] == (cell.arm, cell.prompt)]
    own = base_of(result.spec, question.cell.arm)
    return Asked(
        claim_key(verdict), result.spec.experiments[verdict.experiment].question, verdict.say, CHIPS[verdict.verdict][1], verdict.verdict,
        read_by(verdict.measure), tuple(dict.fromkeys(_place(cell) for cell in [question.cell.on(own), *cells])),
    )  # fmt: skip


def _place(cell: Cell) -> tuple[str, str, float, int | None]:
    return spelled(cell.arm), cell.prompt, 0.0 if is_base(cell.arm) else cell.strength, None if is_base(cell.arm) else cell.step


def _training_files(result: StudyResult, arm: str) -> tuple[Path, ...]:
    folder = result.path(result.datasets[arm])
    return tuple(sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")))

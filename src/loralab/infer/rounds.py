"""What goes on after a look: which questions are settled, which are not worth more trainings, and what the others need next.

In: the verdicts of a look, and where each question is read. Out: a pure answer, so that a study which was killed and is started again plans
the same rounds. Only what is undecided is trained and drawn further; stopping what is futile needs no correction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loralab.infer.case import ControlCells, CurveCells, EffectCells
from loralab.infer.looks import PLANNED, Looks
from loralab.infer.verdict import Verdict
from loralab.spec.cells import Cell
from loralab.spec.models import ExperimentSpec
from loralab.spec.questions import QuestionId

State = Literal["decided", "futile", "open"]


@dataclass(frozen=True)
class Round:
    """What leads to a look: the trainings of each arm at it, the questions that wait for it, and the cells that they read, bases too."""

    trainings: int
    questions: tuple[QuestionId, ...]
    cells: tuple[Cell, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that are trained on, in the order of the cells."""
        return tuple(dict.fromkeys(str(cell.arm) for cell in self.cells if not cell.is_base))


def state_of(verdict: Verdict) -> State:
    """Return whether a question is settled, not worth more trainings, or goes on.

    An answer, and what can't be measured at all, is settled; a direction whose size is open goes on as long as that may be told.
    """
    if verdict.verdict not in ("open", "leaning"):
        return "decided"
    return "open" if verdict.more_runs is not None else "futile"


def first_round(cells: Collection[Cell], questions: Sequence[QuestionId], looks: Looks = PLANNED) -> Round:
    """Return the first round: every question, and all that the study draws."""
    return Round(looks.trainings[0], tuple(questions), tuple(cells))


def next_round(
    verdicts: Sequence[Verdict],
    experiments: Mapping[str, ExperimentSpec],
    controls: Mapping[QuestionId, ControlCells],
    curves: Mapping[QuestionId, CurveCells],
    done: Round,
    looks: Looks = PLANNED,
    effects: Mapping[QuestionId, EffectCells] | None = None,
) -> Round | None:
    """Return the round that leads from the look after ``done`` to the next; None where nothing is open, or no look is left.

    A question that was settled or given up at an earlier look stays so: only those that ``done`` was made for are asked again.
    """
    later = [n for n in looks.trainings if n > done.trainings]
    waiting = set(done.questions)
    asked = [verdict.question for verdict in verdicts if verdict.question in waiting and state_of(verdict) == "open"]
    if not later or not asked:
        return None
    cells = [cell for question in asked for cell in cells_of(question, experiments, controls, curves, effects)]
    wanted = set(cells)
    kept = [cell for cell in done.cells if cell in wanted]  # in the order of the plan, so that it does not matter which question came first
    return Round(later[0], tuple(asked), tuple(dict.fromkeys([*kept, *cells])))


def cells_of(
    question: QuestionId,
    experiments: Mapping[str, ExperimentSpec],
    controls: Mapping[QuestionId, ControlCells],
    curves: Mapping[QuestionId, CurveCells],
    effects: Mapping[QuestionId, EffectCells] | None = None,
) -> tuple[Cell, ...]:
    """Return the cells of arms that decide a question: both sides of a claim and its required controls, the doses of a curve, or
    all combinations of crossed settings.

    The bases beneath them are drawn with every block; what only illustrates (a random twin, unrelated prompts) is not drawn further.
    """
    if question.kind == "curve":
        return tuple(cell for cell in curves[question].cells if not cell.is_base)
    if question in (effects or {}):
        return (effects or {})[question].cells
    claim = experiments[question.experiment].claims[question.index]
    held = controls.get(question, ControlCells(None, None))
    found = [claim.cell, claim.versus_cell]
    found += [held.placebo] if held.placebo is not None and not held.placebo_differs else []
    found += [held.no_trigger] if claim.needs_trigger and held.no_trigger is not None else []
    return tuple(cell for cell in dict.fromkeys(found) if not cell.is_base)


def decided_before(verdicts: Sequence[Verdict], earlier: Mapping[QuestionId, Verdict]) -> list[Verdict]:
    """Return the verdicts of a later look in which what was settled or given up at an earlier one keeps the verdict of then.

    Each look's level is paid for once: a question that was answered is not asked again, although its arms may have gone on for others.
    """
    return [earlier.get(verdict.question, verdict) for verdict in verdicts]

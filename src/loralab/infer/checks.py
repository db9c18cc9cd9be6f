"""The controls of a claim: whether its change also exceeds what training as such, a random change, or the bare prompt does.

In: a case, and the direction in which a control must be exceeded. Out: the samples of its controls, and one check each.
"""

from __future__ import annotations

from dataclasses import replace

from loralab.infer import words
from loralab.infer.case import Case, too_few
from loralab.infer.comparison import Comparison, Sample, between, differences
from loralab.infer.estimate import MIN_RUNS
from loralab.infer.moderated import LEAST_RUNS
from loralab.infer.verdict import Contrast, ControlCheck, ControlName, Finding
from loralab.spec.cells import Cell
from loralab.spec.models import ClaimSpec


def direction_of(claim: ClaimSpec, raw: Finding | None, contrast: Contrast | None) -> int:
    """Return the sign in which a control must be exceeded: the finding's, else the expected one, else the estimate's."""
    signs = {"higher": 1, "some higher": 1, "lower": -1, "some lower": -1}
    if raw in signs:
        return signs[raw]
    if claim.expect in signs:
        return signs[claim.expect]
    return -1 if contrast is not None and contrast.effect < 0 else 1


def _control_cells(case: Case) -> dict[ControlName, Cell]:
    """Return the cells of the controls that have pictures; a placebo that is itself a side of the claim is none."""
    claim, cells = case.claim, case.controls
    own = cells.placebo is not None and cells.placebo.arm in (claim.cell.arm, claim.versus_cell.arm)
    named: dict[ControlName, Cell | None] = {
        "placebo": None if own else cells.placebo, "null": cells.null, "trigger": cells.no_trigger,
    }  # fmt: skip
    return {name: cell for name, cell in named.items() if cell is not None}


def _comparison(case: Case, name: ControlName, cell: Cell) -> Comparison:
    """Return the claim's cell against a control's; without the trigger, each against the base at its own prompt."""
    ours = case.claim.cell
    return (differences if name == "trigger" else between)(ours, cell, case.own.base(ours), case.own.base(cell))


def control_samples(case: Case) -> dict[ControlName, Sample]:
    """Return the paired values of each control that has pictures."""
    return {name: case.sample(_comparison(case, name, cell)) for name, cell in _control_cells(case).items()}


def control_checks(case: Case, direction: int) -> tuple[ControlCheck, ...]:
    """Return the checks that apply: those that the claim needs, run or not, and the others where their pictures exist."""
    claim, cells = case.claim, _control_cells(case)
    learned = claim.versus_cell.is_base and claim.expect != "no change" and not claim.between_trainings
    own = case.controls.placebo is not None and "placebo" not in cells
    asked: list[tuple[ControlName, bool]] = []
    asked += [("placebo", learned)] if not own and (learned or "placebo" in cells) else []
    asked += [("null", False)] if "null" in cells else []
    asked += [("trigger", claim.needs_trigger)] if claim.needs_trigger or "trigger" in cells else []
    return tuple(_check(case, name, required, cells.get(name), direction) for name, required in asked)


def _check(case: Case, name: ControlName, required: bool, cell: Cell | None, direction: int) -> ControlCheck:
    """Return whether the change exceeds the control's, in ``direction``, with intervals of the claim's own levels."""
    empty = ControlCheck(name, words.CONTROL_SAYS[name], required, "not_run", None, "" if cell is None else str(cell))
    if cell is None:
        return empty
    comparison = _comparison(case, name, cell)
    if name == "placebo" and case.controls.placebo_differs:
        return replace(empty, status="other_recipe", says=words.other_recipe(case.controls.placebo_differs))
    if not case.facts.carried or any(too_few(case.facts, case.side(side)) for side in comparison.taken):
        return replace(empty, status="not_measurable")
    sample = case.sample(comparison)
    if sample.n_runs < MIN_RUNS:
        return empty
    contrast = case.contrast(sample)
    bound = contrast.low if direction > 0 else -contrast.high
    half = len(case.sample(case.comparison).replicates) / 2
    if bound <= 0 and not required and sample.n_runs < LEAST_RUNS and sample.n_runs <= half:
        # what only illustrates was drawn for the first trainings alone: that so few do not show more says little
        return replace(empty, status="too_few", contrast=contrast)
    return replace(empty, status="passed" if bound > 0 else "failed", contrast=contrast, surely=contrast.direction == direction)

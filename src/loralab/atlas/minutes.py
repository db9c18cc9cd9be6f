"""How long a study of the atlas takes on two cores, before it is run: a resolved study in, minutes by look out; no torch, no base.

The rates are petri's as docs/benchmarks.md has them (two cores of an Intel Xeon with AMX, float32); `--plan` measures the machine's own.
"""

from __future__ import annotations

from loralab.infer.looks import PLANNED
from loralab.spec.load import Loaded
from loralab.study.beyond import drawn_before, step_factor
from loralab.study.looks import limited, with_looks
from loralab.study.plan import StudyPlan, make_plan

#: seconds of one training step of one LoRA at batch 1, and for each further picture; of one picture before its solver's steps; of one step
STEP_SECONDS, FURTHER_SECONDS = 0.0062, 0.0046
PICTURE_SECONDS, SOLVER_SECONDS = 0.007, 0.0045
FIXED_SECONDS = 9.0


def minutes_by_look(loaded: Loaded) -> dict[int, float]:
    """Return the minutes until each look, if every claim stays open that long."""
    plan = make_plan(with_looks(loaded, "").spec)
    return {n: _minutes(limited(plan, dict.fromkeys(plan.cells, n))) for n in PLANNED.trainings}


def _minutes(plan: StudyPlan) -> float:
    trained = [(plan.spec.arms[run.arm], run.train) for run in plan.runs if plan.spec.arms[run.arm].trained_here]
    steps = [(recipe.steps * step_factor(arm, recipe), recipe.batch) for arm, recipe in trained]
    train = sum(n * (STEP_SECONDS + FURTHER_SECONDS * (batch - 1)) for n, batch in steps)
    draw = plan.n_images * (PICTURE_SECONDS + SOLVER_SECONDS * plan.spec.sample.steps)
    before = drawn_before(plan.spec, list(dict.fromkeys(run.arm for run in plan.runs)))
    draw += sum(len(data.drawn_prompts) * (PICTURE_SECONDS + SOLVER_SECONDS * data.steps) for data in before)
    return (train + draw + FIXED_SECONDS) / 60

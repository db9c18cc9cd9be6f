"""Turns a study into everything that must be made: runs, image blocks, and the control cells of every claim; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loralab.infer.case import ControlCells, CurveCells, EffectCells
from loralab.infer.factorial import effects_of
from loralab.infer.placebo import recipe_differences
from loralab.infer.rounds import cells_of
from loralab.spec import (
    BASE,
    AdapterSource,
    BaseSource,
    Cell,
    ClaimSpec,
    CurveSpec,
    FolderData,
    Source,
    StackedLora,
    StudySpec,
    TrainSpec,
    Who,
    base_of,
    is_base,
)  # fmt: skip
from loralab.spec.keeping import METHODS
from loralab.spec.load import train_spec_of
from loralab.spec.packing import pack_runs
from loralab.spec.questions import QuestionId, question_ids, question_of
from loralab.spec.sources import who_of
from loralab.study.notes import arm_notes
from loralab.study.triggers import prompt_without_trigger, recipe_of, trigger_notes

#: adapters that are trained together at most, by each process that shares a stack; docs/decisions.md has the measurement.
MAX_STACK = 16
#: pictures that are drawn together at most
MAX_IMAGES = 32
#: what decides no question is drawn for so many trainings alone; with 3 an interval over trainings can be given
ILLUSTRATED = 4


@dataclass(frozen=True)
class RunPlan:
    """One training: an arm with one training seed."""

    source: AdapterSource
    train: TrainSpec

    @property
    def arm(self) -> str:
        """The arm that is trained."""
        return self.source.arm

    @property
    def replicate(self) -> int:
        """Which of the arm's trainings this is."""
        return self.source.replicate


@dataclass(frozen=True)
class BlockPlan:
    """The images of one source at one prompt: one a seed of the replicate's block."""

    source: Source
    replicate: int
    prompt: str
    strength: float
    seeds: tuple[int, ...]

    @property
    def who(self) -> Who:
        """The arm, or the base, whose pictures these are."""
        return who_of(self.source)

    @property
    def step(self) -> int | None:
        """The earlier step of the training that is drawn from; None is its end, or a base."""
        return self.source.step if isinstance(self.source, AdapterSource) else None

    @property
    def adapter(self) -> AdapterSource | None:
        """The adapter that draws the block; None is a base as it is."""
        return self.source if isinstance(self.source, AdapterSource) else None


@dataclass(frozen=True)
class Sizes:
    """What goes together on one device, and the peaks in bytes that are predicted for it (0 where none was needed)."""

    stack: int = MAX_STACK
    images: int = MAX_IMAGES
    checkpointing: bool = False
    processes: int = 1  # that train and draw beside each other
    weights_bytes: int = 0
    train_bytes: int = 0
    draw_bytes: int = 0
    room_bytes: float = 0


@dataclass(frozen=True)
class StudyPlan:
    """All that a study will do, as a pure function of its specification."""

    spec: StudySpec
    cells: tuple[Cell, ...]
    runs: tuple[RunPlan, ...]
    blocks: tuple[BlockPlan, ...]
    controls: Mapping[QuestionId, ControlCells]
    arms: tuple[str, ...]
    notes: tuple[str, ...]
    curves: Mapping[QuestionId, CurveCells]

    @property
    def trained_arms(self) -> tuple[str, ...]:
        """The arms with LoRAs of their own, trained here or elsewhere; the others are random twins of these."""
        return tuple(arm for arm in self.arms if self.spec.arms[arm].control != "null")

    @property
    def bases(self) -> tuple[BaseSource, ...]:
        """The bases that are drawn or trained on."""
        drawn = [cell.arm for cell in self.cells if is_base(cell.arm)]
        return tuple(dict.fromkeys([*drawn, *(base_of(self.spec, arm) for arm in self.arms)]))

    def kept_steps(self, arm: str) -> tuple[int, ...]:
        """Return the earlier steps of an arm's trainings that are drawn from, rising."""
        return tuple(sorted({cell.step for cell in self.cells if cell.arm == arm and cell.step is not None}))

    sizes: Sizes = Sizes()
    effects: Mapping[QuestionId, EffectCells] = field(default_factory=dict)

    @property
    def n_images(self) -> int:
        """How many images are drawn, those of a placebo's training set left out."""
        return sum(len(block.seeds) for block in self.blocks)

    def blocks_of(self, base: BaseSource) -> list[BlockPlan]:
        """Return the blocks that are drawn on a base, its own among them."""
        return [block for block in self.blocks if base_of(self.spec, block.who) == base]


def make_plan(spec: StudySpec) -> StudyPlan:
    """Return the plan of a study whose preset has been applied."""
    asked = {question: question_of(spec, question) for question in question_ids(spec)}
    controls = {question: control_cells(spec, claim) for question, claim in asked.items() if isinstance(claim, ClaimSpec)}
    curves = dict(_curves(spec))
    effects = dict(effects_of(spec))
    cells = tuple(dict.fromkeys(_cells(spec, controls, curves, effects)))
    drawn = {str(cell.arm) for cell in cells if not cell.is_base}
    drawn |= {member.arm for arm in drawn for member in spec.arms[arm].stack if member.arm is not None}
    arms = tuple(arm for arm in spec.arms if arm in drawn)
    n_replicates = {arm: train_spec_of(spec, spec.arms[arm]).replicates for arm in arms}
    trained = {arm: n for arm, n in n_replicates.items() if spec.arms[arm].control != "null"}
    runs = tuple(_runs(spec, trained))
    blocks = tuple(_blocks(spec, cells, n_replicates, deciding_cells(spec, cells, controls, curves, effects)))
    return StudyPlan(spec, cells, runs, blocks, controls, arms, tuple(_notes(spec, arms)), curves, effects=effects)


def _curves(spec: StudySpec) -> Iterator[tuple[QuestionId, CurveCells]]:
    for question in question_ids(spec):
        curve = question_of(spec, question)
        if isinstance(curve, CurveSpec) and (doses := doses_of(spec, curve)):  # none in this preset: not drawn, not judged
            yield question, CurveCells(doses, tuple(_dose_cell(spec, curve, dose) for dose in doses), spec.sample.unrelated)


def doses_of(spec: StudySpec, curve: CurveSpec) -> tuple[float, ...]:
    """Return a curve's doses; steps beyond a shortened training (a smoke run's) become its end."""
    if curve.over == "strength":
        return curve.at
    steps = train_spec_of(spec, spec.arms[str(curve.cell.arm)]).steps
    return tuple(sorted({min(dose, float(steps)) for dose in curve.at}))


def _dose_cell(spec: StudySpec, curve: CurveSpec, dose: float) -> Cell:
    """Return the cell of one dose: none of it is the base, the last step is the end of the training."""
    if dose == 0:
        return curve.cell.on(base_of(spec, curve.cell.arm))
    if curve.over == "strength":
        return Cell(curve.cell.arm, curve.cell.prompt, dose)
    steps = train_spec_of(spec, spec.arms[str(curve.cell.arm)]).steps
    return Cell(curve.cell.arm, curve.cell.prompt, 1.0, None if dose == steps else int(dose))


def _runs(spec: StudySpec, n_replicates: Mapping[str, int]) -> Iterator[RunPlan]:
    """Yield the runs by replicate first, so that the first stack already holds one training of every arm."""
    for replicate in range(max(n_replicates.values(), default=0)):
        for arm, n in n_replicates.items():
            if replicate < n:
                yield RunPlan(AdapterSource(arm, replicate), recipe_of(spec, spec.arms[arm]))


def seeds_of(replicate: int, n_seeds: int) -> tuple[int, ...]:
    """Return the image seeds that a replicate owns: r*S ... r*S+S-1, the same for the base and every arm."""
    return tuple(range(replicate * n_seeds, (replicate + 1) * n_seeds))


def deciding_cells(
    spec: StudySpec, cells: tuple[Cell, ...], controls: Mapping[QuestionId, ControlCells], curves: Mapping[QuestionId, CurveCells],
    effects: Mapping[QuestionId, EffectCells],
) -> frozenset[Cell]:  # fmt: skip
    """Return the cells that decide a question or that the study asks to see, and the bases beneath; all of a study without questions.

    The others (random twins, unrelated prompts, the trigger left out where no claim needs it) only illustrate.
    """
    asked = [question for question in question_ids(spec) if question.kind == "claim" or question in curves]
    if not asked:
        return frozenset(cells)
    read = {cell for question in asked for cell in cells_of(question, spec.experiments, controls, curves, effects)}
    read |= {cell for experiment in spec.experiments.values() for cell in experiment.show}
    read |= {cell for claim in _claims(spec) for cell in (claim.cell, claim.versus_cell)}
    return frozenset(read | {cell.on(base_of(spec, cell.arm)) for cell in read})


def _claims(spec: StudySpec) -> Iterator[ClaimSpec]:
    return (claim for experiment in spec.experiments.values() for claim in experiment.claims)


def _blocks(
    spec: StudySpec, cells: tuple[Cell, ...], n_replicates: Mapping[str, int], deciding: frozenset[Cell]
) -> Iterator[BlockPlan]:  # fmt: skip
    wanted: dict[Who, int] = dict(n_replicates.items())
    for base in (cell.arm for cell in cells if is_base(cell.arm)):
        counts = [n for arm, n in n_replicates.items() if base_of(spec, arm) == base]
        wanted[base] = max(counts, default=spec.train.replicates)
    for replicate in range(max(wanted.values(), default=0)):
        seeds = seeds_of(replicate, spec.sample.seeds)
        for cell in cells if replicate < ILLUSTRATED else (cell for cell in cells if cell in deciding):
            if replicate < wanted[cell.arm]:
                yield block_of(cell, replicate, seeds)


def block_of(cell: Cell, replicate: int, seeds: tuple[int, ...]) -> BlockPlan:
    """Return the block of a replicate's pictures in a cell."""
    if is_base(cell.arm):
        return BlockPlan(cell.arm, replicate, cell.prompt, 0.0, seeds)
    return BlockPlan(AdapterSource(str(cell.arm), replicate, cell.step), replicate, cell.prompt, cell.strength, seeds)


def _cells(
    spec: StudySpec,
    controls: Mapping[QuestionId, ControlCells],
    curves: Mapping[QuestionId, CurveCells],
    effects: Mapping[QuestionId, EffectCells],
) -> Iterator[Cell]:
    """Yield every cell to draw: what the claims name, their controls, what is shown, unrelated prompts; and the base at each prompt."""
    wanted: list[Cell] = []
    for experiment in spec.experiments.values():
        for claim in experiment.claims:
            wanted += [claim.cell, claim.versus_cell]
        wanted += experiment.show
    wanted += [cell for effect in effects.values() for cell in effect.cells]
    for control in controls.values():
        wanted += [cell for cell in (control.placebo, control.no_trigger, control.null) if cell is not None]
    for curve in curves.values():
        wanted += curve.cells
        wanted += [cell for index in range(len(curve.doses)) for cell in curve.damage_cells(index)]
    trained = dict.fromkeys(cell.arm for cell in wanted if not cell.is_base)
    wanted += [Cell(arm, prompt) for prompt in spec.sample.unrelated for arm in trained]
    yield from dict.fromkeys(Cell(base_of(spec, cell.arm), cell.prompt) for cell in wanted)
    for cell in wanted:
        if cell.is_base:
            continue
        shortened = cell.step is not None and cell.step >= train_spec_of(spec, spec.arms[str(cell.arm)]).steps
        if not shortened:  # only a preset without verdicts may train less than a cell asks for
            yield cell


def placebo_of(spec: StudySpec, base: BaseSource = BASE) -> str | None:
    """Return the name of the placebo arm on a base; default: the study's."""
    return next((name for name, arm in spec.arms.items() if arm.control == "placebo" and base_of(spec, name) == base), None)


def twin_of(arm: str) -> str:
    """Return the name of an arm's twin of random adapters."""
    return f"null-{arm}"


def control_cells(spec: StudySpec, claim: ClaimSpec) -> ControlCells:
    """Return where a claim's controls are read: the placebo at the same prompt, and the arm without its trigger.

    Only a claim that an arm differs from the base ("learned") has controls; arm against arm is its own control.
    """
    arm = claim.cell.arm
    if not claim.versus_cell.is_base or is_base(arm) or claim.expect == "no change" or claim.between_trainings:
        return ControlCells(None, None)
    arm = str(arm)
    placebo, differs = matching_placebo(spec, arm)
    without = prompt_without_trigger(spec, spec.arms[arm], claim.cell.prompt)
    return ControlCells(
        claim.cell.on(placebo) if placebo and placebo != arm else None,
        claim.cell.at(without) if without is not None else None,
        claim.cell.on(twin_of(arm)) if twin_of(arm) in spec.arms and claim.cell.step is None else None,
        differs,
    )


def matching_placebo(spec: StudySpec, arm: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the placebo on an arm's base whose recipe is nearest to the arm's, and in what the two differ; one that differs is no control.

    What LoRAs from elsewhere were trained by is not known here, so nothing is said of them.
    """
    on_base = [name for name, other in spec.arms.items() if other.control == "placebo" and base_of(spec, name) == base_of(spec, arm)]
    if not on_base:
        return None, ()
    if not spec.arms[arm].trained_here:
        return on_base[0], ()
    recipe = train_spec_of(spec, spec.arms[arm])
    found = [(name, recipe_differences(recipe, train_spec_of(spec, spec.arms[name]))) for name in on_base]
    return min(found, key=lambda item: len(item[1]))


def trains_alone(spec: StudySpec, arm: str) -> bool:
    """Return whether an arm's steps may differ in resolution, so that its runs share no stack."""
    reg = spec.arms[arm].regularisation
    data = [spec.data[name] for name in (spec.arms[arm].data, *([] if reg is None else [reg.data]))]
    return any(isinstance(each, FolderData) and each.trains_alone for each in data)


def _notes(spec: StudySpec, arms: tuple[str, ...]) -> Iterator[str]:
    for name in spec.arms:
        if trains_alone(spec, name):
            yield f"arm {name!r} may train on several resolutions, so its LoRAs are trained one at a time"
        if name not in arms:
            yield f"arm {name!r} is not part of any claim or control, so it is neither trained nor drawn"
    for base in dict.fromkeys(base_of(spec, arm) for arm in spec.arms):
        if placebo_of(spec, base) is None:
            on = "" if base == BASE else f" on the {base}"
            yield f"the study has no placebo arm{on}, so nothing can be shown to be learned rather than a side effect of training{on}"
    yield from arm_notes(spec, arms)
    yield from _placebo_notes(spec)
    yield from trigger_notes(spec, _learned_cells(spec))
    placebos = {arm for arm in spec.arms if spec.arms[arm].control == "placebo"}
    for name, experiment in spec.experiments.items():
        for claim in (claim for claim in experiment.claims if not claim.effect):  # an effect takes settings apart that differ together
            arm, versus = claim.cell.arm, claim.versus_cell.arm
            if not is_base(versus) and not is_base(arm) and versus not in (arm, *placebos):  # a placebo differs by its nature
                differing = differences(spec, str(arm), str(versus))
                if len(differing) > 1:
                    both, listed = f"{arm} and {versus}", ", ".join(differing)
                    yield f"{name}: {both} differ in more than one thing ({listed}), so {claim.say!r} cannot tell which of them matters"


def _placebo_notes(spec: StudySpec) -> Iterator[str]:
    """Name the arms of claims for which the placebo is no control, and in what their recipes differ."""
    for arm in dict.fromkeys(str(claim.cell.arm) for claim in _claims(spec) if control_cells(spec, claim).placebo is not None):
        placebo, differs = matching_placebo(spec, arm)
        if differs:
            told = f"{placebo} is trained with a different recipe from {arm}: {', '.join(differs)}"
            yield f"{told}; it is not a valid control there, and without a control nothing counts as learned. Give it the same `train:`"


def _learned_cells(spec: StudySpec) -> Iterator[Cell]:
    """Yield the cells of which a claim says that something was learned."""
    for claim in _claims(spec):
        if control_cells(spec, claim).placebo is not None:
            yield claim.cell


def differences(spec: StudySpec, one: str, other: str) -> list[str]:
    """Return the names of all in which the resolved recipes of two arms differ; the plan proves "only the keyword" with it."""
    first, second = spec.arms[one], spec.arms[other]
    found = ["base"] if base_of(spec, one) != base_of(spec, other) else []
    if first.stack or second.stack:
        mine, theirs = (set(arm.stack or (StackedLora(arm=name),)) for name, arm in ((one, first), (other, second)))
        return found + sorted(str(member) for member in mine ^ theirs)
    found += ["captions"] if first.captions != second.captions else []
    found += ["where it was trained"] if (first.adapters is None) != (second.adapters is None) else []
    data, other_data = (spec.data[arm.data].model_dump() for arm in (first, second))
    found += [f"data.{key}" for key in sorted(data.keys() | other_data.keys()) if data.get(key) != other_data.get(key)]
    shown, other_shown = (arm.model_dump(include={"showing"})["showing"] for arm in (first, second))
    found += [f"showing.{key}" for key in shown if shown[key] != other_shown[key]]
    found += ["regularisation"] if first.regularisation != second.regularisation else []
    one_recipe, two_recipe = (train_spec_of(spec, arm) for arm in (first, second))
    recipe, other_recipe = one_recipe.model_dump(), two_recipe.model_dump()
    keys = [key for key in recipe if recipe[key] != other_recipe[key] and key not in one_recipe.idle & two_recipe.idle]
    # a method that is turned on brings its own settings along
    return found + [f"train.{key}" for key in keys if not any(key.startswith(f"{other}_") for other in keys if other in METHODS)]


def stacks_of(plan: StudyPlan) -> list[list[AdapterSource]]:
    """Return which runs are trained together: a function of the whole plan, so that a resumed study groups identically."""
    alone = {run.source for run in plan.runs if trains_alone(plan.spec, run.arm)}
    groups: dict[tuple[int, int], list[tuple[AdapterSource, TrainSpec]]] = {}
    for run in plan.runs:
        arm = plan.spec.arms[run.arm]
        origin = 2 if arm.stack else 1 if arm.adapters is not None else 0  # what several LoRAs are made of comes before them
        place = plan.bases.index(base_of(plan.spec, run.arm))
        groups.setdefault((origin, place), []).append((run.source, run.train))
    return [stack for _, runs in sorted(groups.items()) for stack in pack_runs(runs, plan.sizes.stack, alone)]

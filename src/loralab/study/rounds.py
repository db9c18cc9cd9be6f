"""A round of a study as groups of tasks: a pure function of the plan and of what the bases are, so that a resumed study groups as before.

What depends on what stands in the tasks; the order is that in which one process works: the base's pictures, the training sets, then stack
by stack training and pictures, then readings, and the cards of the instruments beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from loralab.seeds import seed_for
from loralab.spec import BASE, AdapterSource, ArmSpec, BaseSource, FolderData, StackedLora, base_of
from loralab.spec.elsewhere import adapter_files
from loralab.store import Ref
from loralab.study import keys
from loralab.study.facts import BaseFacts
from loralab.study.measures import card_name, concept_of, data_of, study_measures
from loralab.study.plan import BlockPlan, RunPlan, StudyPlan, stacks_of, twin_of
from loralab.study.slices import (
    CardSlice,
    CheckSlice,
    DataSlice,
    DrawSlice,
    ImportSlice,
    MeasureSlice,
    StackSlice,
    SumSlice,
    TrainSlice,
    TwinSlice,
)
from loralab.work.task import Group, Task

DRAW_BASE, DRAW_LORAS, TRAIN = "draw the base's images", "draw the LoRAs' images", "train"
#: enough solver steps for an error of the machinery to show, few enough to cost nothing.
PLUMBING_STEPS = 4


@dataclass(frozen=True)
class Round:
    """The groups to carry out, and under which key each thing will lie."""

    plan: StudyPlan
    bases: Mapping[BaseSource, BaseFacts]
    folder: Path  # of the study file: what relative paths refer to
    datasets: dict[str, Ref] = field(default_factory=dict)  # by arm
    regularisation: dict[str, Ref] = field(default_factory=dict)  # by arm, where it has some
    adapters: dict[AdapterSource, Ref] = field(default_factory=dict)
    images: dict[BlockPlan, Ref] = field(default_factory=dict)
    readings: dict[BlockPlan, Ref] = field(default_factory=dict)
    checks: dict[Ref, tuple[AdapterSource, ...]] = field(default_factory=dict)  # of the plumbing
    cards: dict[BaseSource, dict[str, tuple[Ref, str]]] = field(default_factory=dict)  # by card: where its file lies, if it did not ship
    groups: list[Group] = field(default_factory=list)

    @cached_property
    def drawn(self) -> frozenset[AdapterSource]:
        """The trainings that have pictures, twins among them."""
        return frozenset(block.adapter.run for block in self.plan.blocks if block.adapter is not None)

    def facts(self, arm: str) -> BaseFacts:
        """Return the base that an arm is trained, drawn and compared on."""
        return self.bases[base_of(self.plan.spec, arm)]


def plan_round(plan: StudyPlan, bases: Mapping[BaseSource, BaseFacts], folder: Path) -> Round:
    """Return the round of a study's plan; raises LabError("data") where a folder is missing, ValueError where a LoRA file is."""
    its = Round(plan, bases, folder)
    for base in plan.bases:
        its.groups.append(_base_drawing(its, base))
    for groups in (_data(its), _imports(its)):
        its.groups.extend(groups)
    stacks = stacks_of(plan)
    _name_adapters(its)
    seen: set[str] = set()
    for index, stack in enumerate(stacks):
        its.groups.extend(_stack(its, stack, f"stack {index + 1} of {len(stacks)}", seen))
        seen |= {source.arm for source in stack}
    for base in plan.bases:
        its.groups.append(_measuring(its, base))
        its.groups.extend(_cards(its, base))
    return its


# --- pictures -----------------------------------------------------------------------------------------------------------


def _drawing(its: Round, base: BaseSource) -> DrawSlice:
    """Return how pictures are drawn on a base; all prompts there are embedded at once."""
    spec = its.plan.spec
    own = (cell.prompt for cell in its.plan.cells if base_of(spec, cell.arm) == base)
    return DrawSlice(spec.sample, tuple(dict.fromkeys([*own, spec.sample.negative])), its.plan.sizes.images)


def _blocks(its: Round, blocks: Sequence[BlockPlan], base: BaseSource, title: str, note: str) -> Group:
    """Return the drawing of ``blocks`` as one group, behind noting where they will lie."""
    tasks, sample, facts = [], its.plan.spec.sample, its.bases[base]
    for block in blocks:
        adapter = None if block.adapter is None else its.adapters[block.adapter]
        its.images[block] = keys.block_ref(sample, block, facts.fingerprint if adapter is None else adapter.key)
        tasks.append(Task(its.images[block], block, () if adapter is None else (adapter,)))
    n_images = sum(len(block.seeds) for block in blocks)
    return Group("images", title, tuple(tasks), _drawing(its, base), facts.fingerprint, "draw", note, n_images)


def _base_drawing(its: Round, base: BaseSource) -> Group:
    blocks = [block for block in its.plan.blocks if block.source == base]
    return _blocks(its, blocks, base, DRAW_BASE, "the base's pictures" if base == BASE else f"pictures of the {base}")


# --- training sets and adapters -----------------------------------------------------------------------------------------


def _data(its: Round) -> Iterator[Group]:
    """Yield the training sets; arms with the same pictures under the same captions share one."""
    spec, made = its.plan.spec, set[Ref]()
    for name in its.plan.trained_arms:
        arm, facts = spec.arms[name], its.facts(name)
        for kind, own in _sets_of(arm):
            ref = keys.dataset_ref(facts, spec, own, its.folder)
            (its.datasets if kind == "own" else its.regularisation)[name] = ref
            if ref not in made:
                made.add(ref)
                task = Task(ref, DataSlice(name, own, spec.data[own.data], spec.sample.clip_skip, its.folder))
                yield Group("data", "make the training sets", (task,), None, facts.fingerprint, "data", name)


def _sets_of(arm: ArmSpec) -> Iterator[tuple[str, ArmSpec]]:
    """Yield an arm's own set, then its regularisation pictures, as the arm that would be trained on them alone."""
    yield "own", arm
    if arm.regularisation is not None:
        yield "others", ArmSpec(data=arm.regularisation.data, captions=arm.regularisation.captions)


def _imports(its: Round) -> Iterator[Group]:
    """Yield the files from elsewhere, those among several LoRAs included: what does not fit its base is told before anything is trained."""
    tasks: dict[Ref, tuple[Task, str]] = {}
    for run in its.plan.runs:
        arm, facts = its.plan.spec.arms[run.arm], its.facts(run.arm)
        patterns = [(arm.adapters, str(run.source))] if arm.adapters is not None else []
        patterns += [(lora.adapters, f"{run.source}, {lora}") for lora in arm.stack if lora.adapters is not None]
        for pattern, name in patterns:
            file = _file_of(its, pattern, run)
            ref = keys.imported_ref(facts, file)
            tasks.setdefault(ref, (Task(ref, ImportSlice(file, name), (its.datasets[run.arm],)), facts.fingerprint))
    for task, base in tasks.values():
        yield Group("imported", "take the LoRA files", (task,), None, base)


def _file_of(its: Round, pattern: str, run: RunPlan) -> Path:
    """Return the file of ``pattern`` that belongs to a run: the one of its replicate, or the only one."""
    files = adapter_files(pattern, its.folder)
    return files[run.replicate if len(files) > 1 else 0]


def _name_adapters(its: Round) -> None:
    """Note under which key each adapter will lie; sums come last, since they are made of the others."""
    spec = its.plan.spec
    for run in its.plan.runs:
        arm, facts = spec.arms[run.arm], its.facts(run.arm)
        if arm.adapters is not None:
            its.adapters[run.source] = keys.imported_ref(facts, _file_of(its, arm.adapters, run))
        elif not arm.stack:
            for step in (None, *its.plan.kept_steps(run.arm)):
                source = AdapterSource(run.arm, run.replicate, step)
                sets = its.datasets[run.arm], its.regularisation.get(run.arm)
                its.adapters[source] = keys.adapter_ref(facts, source, run.train, sets[0], spec, sets[1])
    for run in its.plan.runs:
        if spec.arms[run.arm].stack:
            its.adapters[run.source] = keys.combined_ref(its.facts(run.arm), _members(its, run))
        if _has_twin(its, run):
            twin = twin_of(run.arm)
            ref = keys.null_ref(its.adapters[run.source], its.datasets[run.arm], _twin_seed(its, run))
            its.adapters[AdapterSource(twin, run.replicate)] = ref


def _has_twin(its: Round, run: RunPlan) -> bool:
    """Return whether a twin of random weights is drawn beside a training; twins that only illustrate, beside the first ones alone."""
    return AdapterSource(twin_of(run.arm), run.replicate) in its.drawn


def _twin_seed(its: Round, run: RunPlan) -> int:
    return seed_for(its.plan.spec.seed, "null", run.arm, run.replicate)


def _members(its: Round, run: RunPlan) -> list[tuple[Ref, float, float]]:
    """Return the LoRAs that a run of several is made of, and their strengths there."""
    return [(_member(its, run, lora), *lora.strengths) for lora in its.plan.spec.arms[run.arm].stack]


def _member(its: Round, run: RunPlan, lora: StackedLora) -> Ref:
    if lora.arm is None:
        return keys.imported_ref(its.facts(run.arm), _file_of(its, str(lora.adapters), run))
    sources = [other.source for other in its.plan.runs if other.arm == lora.arm]
    return its.adapters[sources[run.replicate if len(sources) > 1 else 0]]


# --- stack by stack -----------------------------------------------------------------------------------------------------


def _stack(its: Round, stack: Sequence[AdapterSource], note: str, seen: set[str]) -> Iterator[Group]:
    """Yield what is done with one stack: its adapters, the check of the machinery, random twins, pictures."""
    runs = [run for source in stack for run in its.plan.runs if run.source == source]
    spec, base = its.plan.spec, base_of(its.plan.spec, stack[0].arm)  # runs of one stack are on one base
    arm = spec.arms[stack[0].arm]
    if arm.trained_here:
        yield _training(its, runs, base, note)
    elif arm.stack:
        yield _sums(its, runs, base, note)
    if check := _check(its, stack, base, seen):
        yield check
    twins = [run for run in runs if _has_twin(its, run)]
    if twins:
        yield _twins(its, twins, base)
    drawn = {*stack, *(AdapterSource(twin_of(run.arm), run.replicate) for run in twins)}
    blocks = [block for block in its.plan.blocks if block.adapter is not None and block.adapter.run in drawn]
    if blocks:
        yield _blocks(its, blocks, base, DRAW_LORAS, f"the LoRAs' pictures, {note}")


def _training(its: Round, runs: Sequence[RunPlan], base: BaseSource, note: str) -> Group:
    spec, tasks = its.plan.spec, []
    for run in runs:
        arm, data = spec.arms[run.arm], spec.data[spec.arms[run.arm].data]
        weight = data.prior_loss_weight if isinstance(data, FolderData) else 1.0
        sets = tuple(found[run.arm] for found in (its.datasets, its.regularisation) if run.arm in found)
        for step in (None, *its.plan.kept_steps(run.arm)):
            source = AdapterSource(run.arm, run.replicate, step)
            its_slice = TrainSlice(source, run.train, weight, arm.showing, arm.regularisation, data)
            tasks.append(Task(its.adapters[source], its_slice, sets))
    shared = StackSlice(spec.study, spec.seed, spec.sample.clip_skip, its.plan.sizes.checkpointing)
    steps = sum(run.train.steps for run in runs)
    return Group("trained", TRAIN, tuple(tasks), shared, its.bases[base].fingerprint, "train", note, steps)


def _sums(its: Round, runs: Sequence[RunPlan], base: BaseSource, note: str) -> Group:
    tasks = []
    for run in runs:
        members = _members(its, run)
        says = {"loralab.study": its.plan.spec.study, "loralab.arm": run.arm, "loralab.replicate": str(run.replicate)}
        says["loralab.stack"] = "; ".join(map(str, its.plan.spec.arms[run.arm].stack))
        its_slice = SumSlice(str(run.source), tuple((unet, text) for _, unet, text in members), says)
        tasks.append(Task(its.adapters[run.source], its_slice, tuple(ref for ref, _, _ in members)))
    return Group("combined", TRAIN, tuple(tasks), None, its.bases[base].fingerprint, "train", note)


def _check(its: Round, stack: Sequence[AdapterSource], base: BaseSource, seen: set[str]) -> Group | None:
    """Return the check of strengths 0 and 1, for the first run of every arm that was in no stack before."""
    first = {run.arm: run.source for run in reversed(its.plan.runs) if run.source in stack and run.arm not in seen}
    if not first:
        return None
    sources = tuple(sorted(first.values(), key=str))
    drawing = _drawing(its, base)
    prompts = (cell.prompt for cell in its.plan.cells if not cell.is_base and cell.prompt in drawing.prompts)
    prompt = next(prompts, drawing.sample.negative)  # on a base that is trained on and never drawn, the only one embedded
    recipe = drawing.sample.model_copy(update={"steps": min(PLUMBING_STEPS, drawing.sample.steps), "seeds": 1})
    refs = {source: its.adapters[source] for source in sources}
    ref = keys.plumbing_ref(its.bases[base], recipe, prompt, refs)
    its.checks[ref] = sources
    its_slice = CheckSlice(sources, prompt, DrawSlice(recipe, drawing.prompts, drawing.batch_images))
    task = Task(ref, its_slice, tuple(refs.values()), any_input=True)
    return Group("plumbing", "check the plumbing", (task,), None, its.bases[base].fingerprint)


def _twins(its: Round, runs: Sequence[RunPlan], base: BaseSource) -> Group:
    tasks = []
    for run in runs:
        its_slice = TwinSlice(run.train, _twin_seed(its, run), run.train.read_at(its.plan.spec.sample.clip_skip))
        inputs = its.adapters[run.source], its.datasets[run.arm]
        tasks.append(Task(its.adapters[AdapterSource(twin_of(run.arm), run.replicate)], its_slice, inputs))
    return Group("null", "make random twins", tuple(tasks), None, its.bases[base].fingerprint)


# --- readings and cards -------------------------------------------------------------------------------------------------


def _measuring(its: Round, base: BaseSource) -> Group:
    spec, facts = its.plan.spec, its.bases[base]
    measures, datasets = study_measures(spec, base), datasets_on(its, base)
    beneath = {(block.replicate, block.prompt): ref for block, ref in its.images.items() if block.source == base}
    referred = {data_of(measure): datasets[data_of(measure)] for measure in measures if data_of(measure)}
    tasks = []
    for block, images in its.images.items():
        if base_of(spec, block.who) == base:
            own = beneath[block.replicate, block.prompt]
            its.readings[block] = keys.readings_ref(facts, block, images, own, datasets, measures)
            tasks.append(Task(its.readings[block], block, (images, own, *referred.values())))
    shared = MeasureSlice(tuple(measures), facts.name, facts.size_px, referred)
    return Group("readings", "measure", tuple(tasks), shared, "", "measure", weight=len(tasks))


def datasets_on(its: Round, base: BaseSource) -> dict[str, Ref]:
    """Return the training sets by data as pictures on a base are held against them; its own arms' win."""
    spec, size_px = its.plan.spec, its.bases[base].size_px
    arms = sorted(its.datasets, key=lambda arm: base_of(spec, arm) == base)  # the last of equal data stays
    return {spec.arms[arm].data: its.datasets[arm] for arm in arms if its.facts(arm).size_px == size_px}


def _cards(its: Round, base: BaseSource) -> Iterator[Group]:
    """Yield the cards that did not ship, each kind a group of its own."""
    facts, names = its.bases[base], list(dict.fromkeys(map(card_name, study_measures(its.plan.spec, base))))
    missing = [name for name in names if name not in facts.shipped_cards]
    plain = tuple(name for name in missing if not concept_of(name))
    wanted = [(keys.cards_ref(facts, plain), CardSlice(plain))] if plain else []
    wanted += [(keys.concept_card_ref(facts, name), CardSlice((), name)) for name in missing if concept_of(name)]
    its.cards[base] = {name: (ref, file) for ref, its_slice in wanted for name, file in its_slice.files.items()}
    for ref, its_slice in wanted:
        yield Group("cards", "calibrate the instruments", (Task(ref, its_slice),), None, facts.fingerprint, "calibrate", beside=True)

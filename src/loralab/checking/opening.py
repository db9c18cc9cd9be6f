"""Opens a check: the request in; files, base, prompts and training set out, and every problem with the input raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from loralab.adapters import Adapter, adapter_sha256, load_adapter
from loralab.bases import Base, count_tokens, load_base, prompt_limit
from loralab.checking.budget import SEEDS_A_BLOCK, Budget
from loralab.checking.found import CheckedFile, Found, Role, passed, placed, read_files, relate
from loralab.checking.listing import list_files
from loralab.checking.prompts import Prompts, Trigger, find_trigger, make_prompts, read_prompts, sort_prompts, unrelated_to
from loralab.checking.request import CheckRequest
from loralab.cost.memory import SMALL_WEIGHTS, image_batch, petri_processes, weights_bytes
from loralab.crew import MOST
from loralab.data import Example
from loralab.data.dataset import read_dataset
from loralab.errors import LabError, Problem, lab_error
from loralab.measure.embedders import Embedder
from loralab.spec import BASE, AdapterSource, SampleSpec, Source
from loralab.stages import run_stage
from loralab.stages.cards import facts_of
from loralab.stages.features import embedder_of
from loralab.stages.images import drop_mistaken, text_of
from loralab.store import Store
from loralab.study.facts import BaseFacts
from loralab.study.slices import DrawSlice, FeatureSlice
from loralab.work.inline import Inline
from loralab.work.processes import with_processes

#: seeds of files that are trainings of one recipe: file r owns the block of seeds from r * SEED_BLOCK on
SEED_BLOCK = 1000
#: processes beside this one import torch first: in less time than this they are not worth their start
LEAST_MINUTES = 2.0


#: (seeds, D) by which likeness is told, and (seeds, E) by which copies are
Features = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Variant:
    """Whose pictures are drawn: a file's (None: the base's) at a strength, at the seeds that belong to file ``owner``."""

    index: int | None
    owner: int
    strength: float = 1.0


@dataclass
class Checked:
    """A check while it is carried out."""

    request: CheckRequest
    role: Role
    files: list[CheckedFile]
    base: Base
    store: Store
    weights: dict[str, str]  # label -> sha256 of what a file adds: the same weights draw the same pictures
    training: np.ndarray | None  # (M, H, W, 3) uint8
    triggers: list[Trigger | None]  # one a file
    all_prompts: list[Prompts]  # one a file; ``prompts`` are those that there is time for
    embedder: Embedder
    sample: SampleSpec
    facts: BaseFacts
    executor: Inline
    drawing: DrawSlice  # what all pictures share
    comparing: FeatureSlice  # by what they are compared
    notes: tuple[str, ...] = ()  # what was passed over, and what is not known of the files
    differences: Mapping[str, Sequence[str | None]] = field(default_factory=dict)  # of their recipes
    budget: Budget = field(default_factory=lambda: Budget(4, 0, 1, 0, 1))
    prompts: list[Prompts] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)  # which of the files are drawn: all, unless time is too short
    n_waves: int = 0  # how many blocks of seeds are drawn
    training_features: np.ndarray | None = None
    training_copy_features: np.ndarray | None = None
    disturbed: np.ndarray | None = None  # (M,) how far training pictures lie from themselves behind the VAE and shifted
    threshold: float | None = None  # the distance below which a picture is a copy
    features: dict[Variant, dict[tuple[str, int], Features]] = field(default_factory=dict)  # by prompt and block of seeds

    @property
    def n_seeds(self) -> int:
        """How many seeds a prompt were drawn."""
        return self.n_waves * SEEDS_A_BLOCK

    @property
    def is_one_trigger(self) -> bool:
        """Whether all files are called by the same words."""
        return len({trigger.words if trigger else None for trigger in self.triggers}) == 1

    def source(self, index: int | None) -> Source:
        """Return what draws the pictures of a file; None is the base."""
        return BASE if index is None else AdapterSource(self.files[index].label, 0)

    def first_seed(self, owner: int) -> int:
        """Return where the seeds begin that belong to a file."""
        return owner * SEED_BLOCK if self.role == "seeds" else 0

    def owner(self, index: int) -> int:
        """Return whose seeds a file is drawn at: trainings of one recipe own theirs, all others share those of the first."""
        return index if self.role == "seeds" else 0

    def variant(self, index: int, strength: float = 1.0) -> Variant:
        """Return a file at a strength, at its seeds."""
        return Variant(index, self.owner(index), strength)

    def base_of(self, index: int) -> Variant:
        """Return the base at a file's seeds."""
        return Variant(None, self.owner(index))

    def prompts_of(self, variant: Variant) -> tuple[str, ...]:
        """Return what a variant is drawn at: a file at its own prompts, the base at those of all the files that share its seeds."""
        if variant.index is not None:
            return self.prompts[variant.index].all
        shared = (self.prompts[index].all for index in self.drawn if self.owner(index) == variant.owner)
        return tuple(dict.fromkeys(prompt for prompts in shared for prompt in prompts))


@dataclass(frozen=True)
class Weights:
    """What is kept of a LoRA file that has been read: the hash of what it adds, and its rank."""

    sha256: str
    rank: int


@dataclass
class Held:
    """What stays in memory from one check to the next of the same base, training set and settings."""

    base: Base
    executor: Inline
    comparing: FeatureSlice
    lines: tuple[str, ...] | None  # the user's own prompts
    examples: list[Example]
    unused: tuple[str, ...]  # notes on what lies beside the training pictures
    known: dict[tuple[Path, int, int], Weights] = field(default_factory=dict)  # by file, its size and when it was written (ns)


def open_check(request: CheckRequest, lab: Path) -> Checked:
    """Return the check ready to draw: everything loaded, every problem with the input raised."""
    lines = read_prompts(request.prompts) if request.prompts is not None else None
    listed, passed_over = list_files(request.paths)
    readable, unreadable = read_files(listed)
    return open_files(request, lab, hold(request, lines), readable, (*passed_over, *unreadable))


def hold(request: CheckRequest, lines: tuple[str, ...] | None = None) -> Held:
    """Return what all checks of the request's base and training set share; raises LabError where one of them cannot be used."""
    base = load_base(request.base, request.load)
    examples, unused = training_set(request.dataset, base.size_px)
    executor = with_processes({base.fingerprint: base}, processes_of(request, base), run_stage)
    comparing = FeatureSlice(request.embedder, base.name)
    embedder_of(executor.place, comparing)  # one that cannot be read is told now
    return Held(base, executor, comparing, lines, examples, unused)


def open_files(request: CheckRequest, lab: Path, held: Held, readable: Sequence[CheckedFile], notes: Sequence[str] = ()) -> Checked:
    """Return the check of files whose headers have been read; ``notes`` say what was passed over before."""
    base = held.base
    found, weighed = _opened(request, held, readable, notes)
    store = Store(lab / "store")
    drop_mistaken(store)
    captions = [example.caption for example in held.examples]
    triggers = find_triggers(request, found, captions, needed=held.lines is None)
    prompts = _prompts(found, triggers, held.lines, captions, base)
    texts = tuple(dict.fromkeys(prompt for each in prompts for prompt in each.all))
    most_rank = max(own.rank for own in weighed.values())
    drawing = DrawSlice(request.sample, texts, image_batch(base, request.sample, request.load, most_rank))
    text_of(held.executor.place, base, drawing)  # a prompt that cannot be read is told now
    training = np.stack([example.image for example in held.examples]) if held.examples else None
    return Checked(
        request, found.role, found.files, base, store, {label: own.sha256 for label, own in weighed.items()}, training, triggers, prompts,
        embedder_of(held.executor.place, held.comparing), request.sample, facts_of(base), held.executor, drawing, held.comparing,
        (*found.notes, *held.unused), found.differences, prompts=prompts, drawn=list(range(len(found.files))),
    )  # fmt: skip


def processes_of(request: CheckRequest, base: Base) -> int:
    """Return how many processes draw beside each other: one a thread of a processor, for a small base and where they have time to start."""
    load = request.load
    if load.side_by_side is False or base.device.type != "cpu" or weights_bytes(base) > SMALL_WEIGHTS:
        return 1
    if request.seeds is None and request.minutes < LEAST_MINUTES:
        return 1
    return min(MOST, torch.get_num_threads(), petri_processes(load, base.device))


def training_set(path: Path | None, size_px: int) -> tuple[list[Example], tuple[str, ...]]:
    """Return the pictures that a folder or a kohya dataset file (.toml) trains on, cut to the base's square, and notes.

    What keeps the base in place (regularisation pictures) is no part of what a LoRA is to resemble.
    """
    if path is None:
        return [], ()
    contents = read_dataset(path, lambda _: partial(ImageOps.fit, size=(size_px, size_px), method=Image.Resampling.LANCZOS))
    examples = [example for subset in contents.subsets if not subset.options.is_reg for example in subset.examples]
    if not examples:
        raise lab_error("data", f"{path.name} contains only regularisation pictures", "pictures that the LoRA was trained on")
    return examples, contents.notes


def _opened(
    request: CheckRequest, held: Held, readable: Sequence[CheckedFile], passed_over: Sequence[str]
) -> tuple[Found, dict[str, Weights]]:
    """Return the files that fit the base and what they are to one another, and what each adds, by label.

    The problems of all named files are raised together; a file of a folder that does not fit is passed over with a note.
    """
    weighed, problems, unfit = dict[Path, Weights](), list[Problem](), list[Problem]()
    for file in readable:
        try:
            weighed[file.path] = weigh(file.path, held)
        except LabError as error:
            (problems if file.named else unfit).extend(placed(file.path, error))
    if problems or not weighed:
        raise LabError("model", problems or unfit)
    found = relate([file for file in readable if file.path in weighed], request.order)
    by_label = {file.label: weighed[file.path] for file in found.files}
    files, twins = _without_twins(found, {label: own.sha256 for label, own in by_label.items()})
    notes = (*passed_over, *map(passed, unfit), *found.notes, *twins)
    return found._replace(files=files, notes=notes), {file.label: by_label[file.label] for file in files}


def weigh(path: Path, held: Held) -> Weights:
    """Return what a LoRA file adds to the base, read once as long as it does not change; raises LabError("model") where it does not fit."""
    try:
        stat = path.stat()
    except OSError:  # what reads it says why
        return _weighed(load_adapter(path, held.base, follow_links=True))
    key = (path.absolute(), stat.st_size, stat.st_mtime_ns)
    if key not in held.known:
        held.known[key] = _weighed(load_adapter(path, held.base, follow_links=True))
    return held.known[key]


def _weighed(adapter: Adapter) -> Weights:
    return Weights(adapter_sha256(adapter), adapter.rank)


def _without_twins(found: Found, weights: Mapping[str, str]) -> tuple[list[CheckedFile], list[str]]:
    """Return the files and notes on those that hold the same weights: nothing that is drawn can tell them apart.

    Of one training the earlier stands for both: trainers write the last moment once more under the training's own name.
    """
    by_weights: dict[str, list[str]] = {}
    for label, sha256 in weights.items():
        by_weights.setdefault(sha256, []).append(label)
    alike = [labels for labels in by_weights.values() if len(labels) > 1]
    if found.role != "epochs" or len(by_weights) == 1:
        return found.files, [f"{' and '.join(labels)} contain the same weights." for labels in alike]
    again = {label for labels in alike for label in labels[1:]}
    notes = [f"{' and '.join(labels)} contain the same weights and are shown once, as {labels[0]}." for labels in alike]
    return [file for file in found.files if file.label not in again], notes


def find_triggers(request: CheckRequest, found: Found, captions: Sequence[str], *, needed: bool) -> list[Trigger | None]:
    """Return each file's trigger: one for all files of a training or a recipe, else each file's own.

    Raises LabError("spec") where one is not to be found although it is needed, and for triggers that are not as many as files.
    """
    n = len(found.files)
    given = [request.trigger] * n if not isinstance(request.trigger, tuple) else list(request.trigger)
    if len(given) == 1:
        given = given * n
    if len(given) != n:
        listed = ", ".join(file.label for file in found.files)
        raise lab_error("spec", f"{len(given)} triggers for {n} files", f"one --trigger for all of them, or one each for {listed}")
    if found.role != "files":
        metadata = [found.files[-1].metadata] * n
    else:
        metadata = [file.metadata for file in found.files]
    triggers, problems = list[Trigger | None](), list[Problem]()
    for file, word, told in zip(found.files, given, metadata, strict=True):
        try:
            triggers.append(find_trigger(word, captions, told))
        except LabError as error:
            triggers.append(None)
            problems += error.problems if found.role != "files" else [replace(each, where=file.label) for each in error.problems]
    if problems and (needed or request.trigger is not None):
        raise LabError("spec", list(dict.fromkeys(problems)))
    return triggers


def _prompts(
    found: Found, triggers: Sequence[Trigger | None], lines: Sequence[str] | None, captions: Sequence[str], base: Base
) -> list[Prompts]:
    """Return each file's prompts; what is unrelated is unrelated to all files, and the same for all."""
    family = base.name if base.name == "petri" else base.family
    words = [trigger.words if trigger else None for trigger in triggers]
    if lines is not None:
        named = [word for word in words if word is not None]
        return [sort_prompts(lines, word, family, named) for word in words]
    short = [caption for caption in captions if count_tokens(base, caption) <= prompt_limit(base)]
    prompts = [make_prompts(word or "", short, family) for word in words]
    unrelated = unrelated_to([prompt for each in prompts for prompt in each.trigger], family)
    return [replace(each, unrelated=unrelated) for each in prompts]

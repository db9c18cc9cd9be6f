"""Carries a check out: files found and loaded, seeds that the minutes afford, pictures drawn, scores taken, page and PNG written."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loralab.adapters import Adapter, adapter_sha256, load_adapter
from loralab.bases import Base, count_tokens, decode_latents, embed_captions, encode_images, load_base, prompt_limit
from loralab.data import read_folder
from loralab.engine.check.features import Embedder, load_embedder
from loralab.engine.check.found import CheckedFile, Role, passed, placed, read_files, relate
from loralab.engine.check.listing import list_files
from loralab.engine.check.prompts import Prompts, Trigger, find_trigger, make_prompts
from loralab.engine.check.request import STRENGTHS, CheckRequest
from loralab.engine.check.scores import Scores, copy_threshold, moved, nearest_distance, resemblance, worth_keeping
from loralab.engine.memory import image_batch
from loralab.errors import LabError, Problem, lab_error
from loralab.measure.files import load_pictures
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec import BASE, AdapterSource, SampleSpec, Source
from loralab.stages import run_stage
from loralab.stages.cards import facts_of
from loralab.stages.images import drop_mistaken, image_files
from loralab.store import Ref, Store
from loralab.study import keys
from loralab.study.facts import BaseFacts
from loralab.study.plan import BlockPlan
from loralab.study.slices import DrawSlice, ImportSlice
from loralab.work.events import Event, StageClock
from loralab.work.execute import execute
from loralab.work.inline import Inline
from loralab.work.place import Place
from loralab.work.task import Group, Task

SEEDS_A_BLOCK = 4
LEAST_SEEDS, MOST_SEEDS = 4, 64
#: seeds of files that are replicates of one recipe: file r owns the block of seeds from r * SEED_BLOCK on
SEED_BLOCK = 1000
#: share of the time asked for that drawing may take
DRAWING_SHARE = 0.9
CALIBRATION_SEED = 10**6
Listener = Callable[[Event], None]
#: (file or base, owner of the seeds, strength) -> prompt -> features (S, D)
Drawn = tuple[Source, int, float]
Features = dict[Drawn, dict[str, np.ndarray]]


@dataclass
class Checked:
    """A check while it is carried out."""

    request: CheckRequest
    role: Role
    files: list[CheckedFile]
    base: Base
    store: Store
    adapters: dict[str, Adapter]
    training: np.ndarray | None  # (M, H, W, 3) uint8
    trigger: Trigger
    prompts: Prompts
    embedder: Embedder
    sample: SampleSpec
    embeddings: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = ()  # what was passed over, and what is not known of the files
    batch_images: int = 32
    n_seeds: int = 0
    training_features: np.ndarray | None = None
    disturbed: np.ndarray | None = None
    threshold: float | None = None
    training_copy_features: np.ndarray | None = None
    features: Features = field(default_factory=dict)
    copy_features: Features = field(default_factory=dict)  # the same where copies are told by other features; else the very same arrays

    def __post_init__(self) -> None:
        self.facts: BaseFacts = facts_of(self.base)
        self.executor = Inline(Place({self.base.fingerprint: self.base}), run_stage)

    def source(self, index: int | None) -> Source:
        """Return what draws the pictures of a file; None is the base."""
        return BASE if index is None else AdapterSource(self.files[index].label, 0)

    def first_seed(self, index: int) -> int:
        """Return where the file's block of seeds begins: files of one training share seeds, replicates own theirs."""
        return index * SEED_BLOCK if self.role == "seeds" else 0


@dataclass(frozen=True)
class Result:
    """What was found: scores by file and, for the file number ``chosen``, by strength; which files are kept, and what beats the others."""

    scores: dict[str, Scores]
    strengths: dict[float, Scores]
    chosen: int
    kept: list[str]
    beaten: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class CheckOutcome:
    """A finished check: what was found, and where it lies."""

    check: Checked
    result: Result
    page: Path
    card: Path
    document: dict[str, Any]


def check_files(request: CheckRequest, lab: Path, listen: Listener) -> CheckOutcome:
    """Check the files of ``request``; raises LabError where they, the base or the data set cannot be used."""
    from loralab.engine.check.writing import write_outcome

    started = time.monotonic()
    check = open_check(request, lab)
    left = request.minutes * 60 * DRAWING_SHARE - (time.monotonic() - started)
    check.n_seeds = request.seeds or affordable_seeds(check, _seconds_per_image(check), left)
    _draw(check, None, 1.0, listen)
    _learn_training_set(check)
    scores = {}
    for index, file in enumerate(check.files):
        _draw(check, index, 1.0, listen)
        scores[file.label] = score(check, index, 1.0)
    kept, beaten = worth_keeping(scores) if check.role == "epochs" else (list(scores), {})
    chosen = _strength_file(check, scores, kept)
    strengths = {1.0: scores[check.files[chosen].label]}
    for strength in STRENGTHS:
        _draw(check, chosen, strength, listen)
        strengths[strength] = score(check, chosen, strength)
    result = Result(scores, dict(sorted(strengths.items())), chosen, kept, beaten, time.monotonic() - started)
    return write_outcome(check, result, lab)


def open_check(request: CheckRequest, lab: Path) -> Checked:
    """Return the check ready to draw: everything loaded, every problem with the input raised."""
    role, files, adapters, base, notes = _opened(request)
    store = Store(lab / "store")
    drop_mistaken(store)
    contents = read_folder(request.dataset, base.size_px) if request.dataset is not None else None
    captions = [example.caption for example in contents.examples] if contents else []
    trigger = find_trigger(request.trigger, captions, files[-1].metadata)
    short = [caption for caption in captions if count_tokens(base, caption) <= prompt_limit(base)]
    prompts = make_prompts(trigger.words, short, base.name if base.name == "petri" else base.family)
    sample = SampleSpec(seeds=SEEDS_A_BLOCK)
    texts = [*dict.fromkeys([*prompts.all, sample.negative])]
    embeddings = dict(zip(texts, embed_captions(base, texts), strict=True))
    training = np.stack([example.image for example in contents.examples]) if contents else None
    return Checked(
        request, role, files, base, store, adapters, training, trigger, prompts, load_embedder(request.embedder, base),
        sample, embeddings, notes, image_batch(base, sample, request.load, max(adapter.rank for adapter in adapters.values())),
    )  # fmt: skip


def _opened(request: CheckRequest) -> tuple[Role, list[CheckedFile], dict[str, Adapter], Base, tuple[str, ...]]:
    """Return the files that fit the base, what they are to one another, their adapters by label, the base, and notes.

    The problems of all named files are raised together; a file of a folder that does not fit is passed over with a note.
    """
    listed, passed_over = list_files(request.paths)
    readable, notes = read_files(listed)
    base = load_base(request.base, request.load)
    loaded, problems, unfit = dict[Path, Adapter](), list[Problem](), list[Problem]()
    for file in readable:
        try:
            loaded[file.path] = load_adapter(file.path.resolve(), base)
        except LabError as error:
            (problems if file.named else unfit).extend(placed(file.path, error))
    if problems or not loaded:
        raise LabError("model", problems or unfit)
    found = relate([file for file in readable if file.path in loaded], request.order)
    said = (*passed_over, *notes, *map(passed, unfit), *found.notes)
    return found.role, found.files, {file.label: loaded[file.path] for file in found.files}, base, said


# --- drawing ------------------------------------------------------------------------------------------------------------


def _blocks(check: Checked, index: int | None, strength: float, seeds: Sequence[int]) -> dict[BlockPlan, Ref]:
    source = check.source(index)
    drawn_by = check.base.fingerprint if index is None else adapter_sha256(check.adapters[check.files[index].label])
    blocks = {}
    for start in range(0, len(seeds), SEEDS_A_BLOCK):
        for prompt in check.prompts.all:
            plan = BlockPlan(source, 0, prompt, 0.0 if index is None else strength, tuple(seeds[start : start + SEEDS_A_BLOCK]))
            blocks[plan] = keys.block_ref(check.sample, plan, drawn_by)
    return blocks


def _seeds(check: Checked, index: int) -> list[int]:
    return list(range(check.first_seed(index), check.first_seed(index) + check.n_seeds))


def _draw(check: Checked, index: int | None, strength: float, listen: Listener) -> None:
    """Draw the pictures of a file at a strength (None: the base, at every file's seeds) and keep their features."""
    owners = range(len(check.files)) if index is None and check.role == "seeds" else [index or 0]
    for owner in owners:
        blocks = _blocks(check, index, strength, _seeds(check, owner))
        source = check.source(index)
        note = "the base's pictures" if index is None else f"{check.files[index].label}, strength {strength:g}"
        for event in execute(_groups(check, index, blocks, note), check.store, check.executor, StageClock()):
            if event.stage:
                listen(event)
        images = _images_by_prompt(check, blocks)
        key, embedder = (source, owner, strength), check.embedder
        check.features[key] = {prompt: embedder.embed(of_prompt) for prompt, of_prompt in images.items()}
        apart = embedder.copies is not None
        check.copy_features[key] = (
            {prompt: embedder.embed_for_copies(of_prompt) for prompt, of_prompt in images.items()} if apart else check.features[key]
        )


def _groups(check: Checked, index: int | None, blocks: Mapping[BlockPlan, Ref], note: str) -> list[Group]:
    """Return what draws the blocks: the file, taken into the store, and its pictures."""
    groups, inputs = list[Group](), tuple[Ref, ...]()
    if index is not None:
        file = check.files[index]
        inputs = (keys.imported_ref(check.facts, file.path.resolve()),)
        take = Task(inputs[0], ImportSlice(file.path.resolve(), file.label))
        groups.append(Group("imported", "take the LoRA files", (take,), None, check.facts.fingerprint))
    shared = DrawSlice(check.sample, check.prompts.all, check.batch_images, plain=True)
    tasks = tuple(Task(ref, block, inputs) for block, ref in blocks.items())
    n_images = sum(len(block.seeds) for block in blocks)
    return [*groups, Group("images", "draw", tasks, shared, check.facts.fingerprint, "draw", note, n_images)]


def _images_by_prompt(check: Checked, blocks: Mapping[BlockPlan, Ref]) -> dict[str, np.ndarray]:
    """Return pictures (S, H, W, 3) by prompt."""
    found: dict[str, list[np.ndarray]] = {}
    for block, ref in blocks.items():
        found.setdefault(block.prompt, []).append(load_pictures(image_files(check.store.path(*ref), block)))
    return {prompt: np.concatenate(parts) for prompt, parts in found.items()}


def pictures(check: Checked, index: int | None, strength: float, prompt: str, n: int, owner: int = 0) -> tuple[list[int], np.ndarray]:
    """Return the first ``n`` seeds and their pictures (n, H, W, 3)."""
    seeds = _seeds(check, owner if index is None else index)
    blocks = {block: ref for block, ref in _blocks(check, index, strength, seeds).items() if block.prompt == prompt}
    return seeds[:n], _images_by_prompt(check, blocks)[prompt][:n]


def _seconds_per_image(check: Checked) -> float:
    """Return the time of a picture on this machine: the base's first block, drawn twice because the first pass warms up."""
    seeds = tuple(range(CALIBRATION_SEED, CALIBRATION_SEED + SEEDS_A_BLOCK))
    blocks = [ImageBlock(None, prompt, 0.0, seeds) for prompt in check.prompts.all]
    batch = plan_batches(blocks, check.batch_images)[0]
    took = []
    for _ in range(2):
        before = time.monotonic()
        sample_batch(check.base, batch, {}, check.sample, check.embeddings)
        took.append(time.monotonic() - before)
    return took[-1] / batch.n_images


def affordable_seeds(check: Checked, seconds_per_image: float, seconds: float) -> int:
    """Return how many seeds a cell the time affords, a multiple of 4; raises LabError("spec") where that is none."""
    n_files = len(check.files)
    drawings = 2 * n_files if check.role == "seeds" else 1 + n_files
    a_seed = len(check.prompts.all) * (drawings + len(STRENGTHS)) * seconds_per_image
    n = int(seconds / a_seed) // SEEDS_A_BLOCK * SEEDS_A_BLOCK
    if n < LEAST_SEEDS:
        needed = LEAST_SEEDS * a_seed / 60 / DRAWING_SHARE
        found = f"{check.request.minutes:g} minutes for {n_files} files at {seconds_per_image:.2g} s a picture"
        raise lab_error("spec", found, f"at least {LEAST_SEEDS} seeds a prompt", f"give --minutes {needed:.1f} or more, or fewer files")
    return min(n, MOST_SEEDS)


# --- scoring ------------------------------------------------------------------------------------------------------------


def _learn_training_set(check: Checked) -> None:
    """Take the training set's features, and how far its pictures lie from themselves behind the VAE and shifted by a pixel or two."""
    if check.training is None:
        return
    check.training_features = check.embedder.embed(check.training)
    check.training_copy_features = check.embedder.embed_for_copies(check.training)
    pixels = torch.from_numpy(check.training).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    again = np.concatenate([decode_latents(check.base, encode_images(check.base, part)) for part in pixels.split(8)])
    shift = max(1, check.base.size_px // 64)
    padded = np.pad(again, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    shifted = padded[:, : again.shape[1], : again.shape[2]]
    disturbed = check.embedder.embed_for_copies(np.concatenate([again, shifted]))
    own = np.concatenate([check.training_copy_features, check.training_copy_features])
    check.disturbed = np.sqrt(((disturbed - own) ** 2).sum(axis=1))
    base = np.concatenate([found for key, found in _base_distances(check)])
    check.threshold = copy_threshold(check.disturbed, base)


def _base_distances(check: Checked) -> list[tuple[int, np.ndarray]]:
    owners = sorted(owner for source, owner, _ in check.features if source == BASE)
    return [(owner, _copy_distance(check, (BASE, owner, 1.0))) for owner in owners]


def _copy_distance(check: Checked, key: Drawn) -> np.ndarray:
    """Return the distance (P, S) of pictures at the trigger's prompts from the nearest training picture, as copies are told."""
    assert check.training_copy_features is not None  # callers have a training set
    return nearest_distance(_stacked(check.copy_features[key], check.prompts.trigger), check.training_copy_features)


def _stacked(found: Mapping[str, np.ndarray], prompts: Sequence[str]) -> np.ndarray:
    return np.stack([found[prompt] for prompt in prompts])  # (P, S, D)


def score(check: Checked, index: int, strength: float) -> Scores:
    """Return what a file does at a strength, one value an image seed."""
    owner = index if check.role == "seeds" else 0
    lora_key, base_key = (check.source(index), index, strength), (BASE, owner, 1.0)

    def both(prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return _stacked(check.features[lora_key], prompts), _stacked(check.features[base_key], prompts)

    found: dict[str, np.ndarray | None] = {"resemblance": None, "firing": None, "copies": None}
    if check.training_features is not None:
        at, base_at = (nearest_distance(side, check.training_features) for side in both(check.prompts.trigger))
        found["resemblance"] = resemblance(at, base_at)
        off, base_off = (nearest_distance(side, check.training_features) for side in both(check.prompts.without))
        found["firing"] = resemblance(off, base_off)
        if check.threshold is not None:
            found["copies"] = (_copy_distance(check, lora_key) <= check.threshold).mean(axis=0)
    return Scores(**found, change=moved(*both(check.prompts.trigger)), damage=moved(*both(check.prompts.unrelated)))  # type: ignore[arg-type]


def _strength_file(check: Checked, scores: Mapping[str, Scores], kept: Sequence[str]) -> int:
    """Return the file whose strengths are drawn: of those worth keeping the one with the most effect."""
    best = max(kept, key=lambda label: float(scores[label].effect.mean()))
    return next(index for index, file in enumerate(check.files) if file.label == best)


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

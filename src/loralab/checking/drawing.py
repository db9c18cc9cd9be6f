"""Draws a check block by block of seeds: variants and a block in, pictures and their features in the store out; with a clock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from loralab.checking.budget import SEEDS_A_BLOCK
from loralab.checking.opening import Checked, Variant
from loralab.measure.files import load_pictures
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.stages.features import load_features
from loralab.stages.images import image_files, text_of
from loralab.store import Ref
from loralab.study import keys
from loralab.study.plan import BlockPlan
from loralab.study.slices import ImportSlice
from loralab.work.events import Event, StageClock
from loralab.work.execute import execute
from loralab.work.task import Group, Task

Listener = Callable[[Event], None]
#: no picture of a check has a seed so high: the machine's speed is measured there
CALIBRATION_SEED = 10**6
#: a picture that takes longer is measured alone
QUICK_SECONDS, SLOW_SECONDS = 1.0, 10.0
MEASURED_TOGETHER = 8
#: pages and PNGs are written in about this share of the time asked for, and at least so many seconds
WRITING_SHARE, WRITING_SECONDS = 0.04, 2.0


@dataclass
class Pace:
    """How long a picture takes on this machine, learned as pictures are drawn, and when the time is over."""

    deadline: float
    reserve: float
    seconds_a_picture: float
    drawn: int = 0
    seconds: float = 0.0  # that drawing has taken so far
    limited: bool = field(default=True)  # False where the user asked for seeds, not for minutes

    def learn(self, n_pictures: int, seconds: float) -> None:
        """Take so many new pictures into account; what has been drawn outweighs what was measured at the start."""
        if n_pictures:
            self.drawn, self.seconds = self.drawn + n_pictures, self.seconds + seconds
            self.seconds_a_picture = self.seconds / self.drawn

    @property
    def left(self) -> float:
        """Return the seconds that may still be spent on pictures."""
        return self.deadline - self.reserve - time.monotonic()

    def affords(self, n_pictures: int) -> bool:
        """Return whether so many new pictures can be drawn in time."""
        return not self.limited or n_pictures * self.seconds_a_picture <= self.left


def measure_pace(check: Checked, started: float) -> Pace:
    """Return the pace of this machine: of one picture, and where that is quick, of several together."""
    seconds = 60 * check.request.minutes
    took = _time_of(check, 1)
    if took < SLOW_SECONDS:  # the first is slow on every machine
        took = _time_of(check, 1)
    if took < QUICK_SECONDS:
        took = _time_of(check, min(MEASURED_TOGETHER, check.drawing.batch_images))
    reserve = max(WRITING_SECONDS, WRITING_SHARE * seconds)
    return Pace(started + seconds, reserve, took, limited=check.request.seeds is None)


def _time_of(check: Checked, n: int) -> float:
    seeds = tuple(range(CALIBRATION_SEED, CALIBRATION_SEED + n))
    (batch,) = plan_batches([ImageBlock(None, check.prompts[0].trigger[0], 0.0, seeds)], n)
    before = time.monotonic()
    sample_batch(check.base, batch, {}, check.sample, text_of(check.executor.place, check.base, check.drawing))
    return (time.monotonic() - before) / n


def seeds_of(check: Checked, owner: int, wave: int) -> tuple[int, ...]:
    """Return the seeds of a block: image seeds are literal numbers, so that another tool can draw the same noise."""
    start = check.first_seed(owner) + wave * SEEDS_A_BLOCK
    return tuple(range(start, start + SEEDS_A_BLOCK))


def blocks_of(check: Checked, variant: Variant, wave: int) -> dict[BlockPlan, Ref]:
    """Return the blocks of a variant at the seeds of a wave, one a prompt, and what their pictures are kept as."""
    source = check.source(variant.index)
    drawn_by = check.base.fingerprint
    if variant.index is not None:  # the same LoRA draws other pictures on another base, and on this one in another size
        drawn_by = hashlib.sha256(f"{drawn_by} {check.weights[check.files[variant.index].label]}".encode()).hexdigest()
    strength = 0.0 if variant.index is None else variant.strength
    plans = [BlockPlan(source, 0, prompt, strength, seeds_of(check, variant.owner, wave)) for prompt in check.prompts_of(variant)]
    return {plan: keys.block_ref(check.sample, plan, drawn_by) for plan in plans}


def n_missing(check: Checked, variants: Sequence[Variant], waves: Sequence[int]) -> int:
    """Return how many pictures of these variants and waves the store lacks."""
    blocks = (pair for variant in variants for wave in waves for pair in blocks_of(check, variant, wave).items())
    return sum(len(block.seeds) for block, ref in blocks if not check.store.has(*ref))


def draw_wave(check: Checked, variants: Sequence[Variant], wave: int, pace: Pace, listen: Listener, note: str) -> None:
    """Draw what the store lacks of a wave, all variants together, and read what the check has not seen yet of how alike pictures are."""
    started, missing = time.monotonic(), n_missing(check, variants, [wave])
    new = {variant: _unknown(check, variant, wave) for variant in variants}
    features = {ref: keys.features_ref(check.embedder.identity, ref) for blocks in new.values() for ref in blocks.values()}
    for event in execute(_groups(check, new, features, note), check.store, check.executor, StageClock()):
        if event.stage:
            listen(event)
    for variant, blocks in new.items():
        for block, images in blocks.items():
            check.features.setdefault(variant, {})[block.prompt, wave] = load_features(check.store.path(*features[images]))
    pace.learn(missing, time.monotonic() - started)


def _groups(check: Checked, new: Mapping[Variant, Mapping[BlockPlan, Ref]], features: Mapping[Ref, Ref], note: str) -> list[Group]:
    """Return what makes the blocks: files taken into the store, the pictures of all variants together, and their features."""
    inputs = {variant: _taken(check, variant.index) for variant, blocks in new.items() if blocks and variant.index is not None}
    takes = dict.fromkeys(inputs.values())
    tasks = {ref: Task(ref, block, _refs(inputs.get(variant))) for variant, blocks in new.items() for block, ref in blocks.items()}
    if not tasks:
        return []
    n_images = sum(len(task.spec.seeds) for task in tasks.values())
    drawing = Group("images", "draw", tuple(tasks.values()), check.drawing, check.facts.fingerprint, "draw", note, n_images)
    compared = tuple(Task(features[ref], task.spec, (ref,)) for ref, task in tasks.items())
    comparing = Group("features", "compare", compared, check.comparing)
    taking = [Group("imported", "take the LoRA files", (task,), None, check.facts.fingerprint) for task in takes if task]
    return [*taking, drawing, comparing]


def _refs(task: Task | None) -> tuple[Ref, ...]:
    return () if task is None else (task.ref,)


def _taken(check: Checked, index: int | None) -> Task | None:
    """Return what takes a file into the store; None for the base."""
    if index is None:
        return None
    file = check.files[index]
    path = file.path.absolute()
    weights = check.weights[file.label]  # a file that was written anew is another one
    ref = check.executor.place.once(("imported", path, weights), lambda: keys.imported_ref(check.facts, path))
    return Task(ref, ImportSlice(path, file.label))


def _unknown(check: Checked, variant: Variant, wave: int) -> dict[BlockPlan, Ref]:
    known = check.features.get(variant, {})
    return {block: ref for block, ref in blocks_of(check, variant, wave).items() if (block.prompt, wave) not in known}


def _load(check: Checked, block: BlockPlan, ref: Ref) -> np.ndarray:
    return load_pictures(image_files(check.store.path(*ref), block))


def pictures(check: Checked, variant: Variant, prompt: str, n: int) -> tuple[list[int], np.ndarray]:
    """Return the first ``n`` seeds of a variant at a prompt and their pictures (n, H, W, 3)."""
    waves = range(min(check.n_waves, -(-n // SEEDS_A_BLOCK)))
    blocks = {block: ref for wave in waves for block, ref in blocks_of(check, variant, wave).items() if block.prompt == prompt}
    seeds = [seed for block in blocks for seed in block.seeds]
    return seeds[:n], np.concatenate([_load(check, block, ref) for block, ref in blocks.items()])[:n]

"""The sampling stage: blocks of the grid in, one artefact of pictures a block out, drawn in batches that depend on the group alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base, embed_captions, embed_prompts
from loralab.sample import Batch, ImageBlock, KeptBatches, parameters_text, plan_batches, sample_batches, write_png
from loralab.spec import AdapterSource, SampleSpec
from loralab.spec.sources import is_base, spelled, whose
from loralab.stages.trained import load_from
from loralab.store import Ref, Store, write_atomically
from loralab.study.plan import BlockPlan
from loralab.study.slices import DrawSlice
from loralab.work.place import Place
from loralab.work.task import Made, Message, Progress, Task, Work

KIND = "images"
#: (adapter, strength, prompt, seed) -> the task that the picture belongs to
Owners = Mapping[tuple[Hashable, float, str, int], Task]


def make_images(work: Work, place: Place) -> Iterator[Message]:
    """Draw what is missing of a group's blocks.

    Batches are planned over all blocks, present or not: a resumed study draws each image in the company it had.
    """
    base, shared = place.bases[work.group.base], work.group.spec
    adapters = _adapters(work, place, base)
    embeddings = text_of(place, base, shared)
    batches, owner = _batches(work, shared)
    cells_of = [[(k, i, owner[(*group, *item)]) for k, group in enumerate(batch.groups) for i, item in enumerate(batch.items[k])]
                for batch in batches]  # fmt: skip
    needed = [any(task.ref in work.wanted for _, _, task in cells) for cells in cells_of]
    kept = KeptBatches(work.resume, base, shared.sample, adapters, embeddings, place.crew)
    wanted = [batch for batch, needs in zip(batches, needed, strict=True) if needs]
    drawing = sample_batches(base, [batch for batch in wanted if not kept.has(batch)], adapters, shared.sample, embeddings, place.crew)
    drawn: dict[Ref, dict[int, np.ndarray]] = {}
    done, total = 0, sum(batch.n_images for batch in batches)
    for batch, cells, needs in zip(batches, cells_of, needed, strict=True):
        if needs:
            images = kept.load(batch) if kept.has(batch) else next(drawing)
            for k, i, task in cells:
                drawn.setdefault(task.ref, {})[batch.items[k][i][1]] = images[k, i]
            if any(len(drawn[task.ref]) < len(task.spec.seeds) for _, _, task in cells):
                kept.save(batch, images)  # its blocks are whole with a later batch: what ends the process before that undoes nothing
            yield from _complete(work, base, shared.sample, [task for _, _, task in cells], drawn)
        done += len(cells)
        yield Progress(done, total)


def _batches(work: Work, shared: DrawSlice) -> tuple[list[Batch], Owners]:
    blocks: list[tuple[Task, BlockPlan]] = [(task, task.spec) for task in work.tasks]
    planned = [ImageBlock(block.adapter, block.prompt, block.strength, block.seeds) for _, block in blocks]
    owner: Owners = {(block.adapter, block.strength, block.prompt, seed): task for task, block in blocks for seed in block.seeds}
    return plan_batches(planned, shared.batch_images), owner


def _adapters(work: Work, place: Place, base: Base) -> dict[AdapterSource, Adapter]:
    """Return the adapters that are needed, by source."""
    found: dict[AdapterSource, Adapter] = {}
    for task in work.tasks:
        for ref in task.inputs:
            adapter = place.once((base.fingerprint, ref), lambda ref=ref: load_from(work.folders[ref], base))  # type: ignore[misc]
            if adapter is not None and task.spec.adapter is not None:
                found[task.spec.adapter] = adapter
    return found


def text_of(place: Place, base: Base, shared: DrawSlice) -> Mapping[str, torch.Tensor]:
    """Return the embedding of every prompt, and of the negative one; all are embedded at once, as each study does."""
    prompts = tuple(dict.fromkeys([*shared.prompts, shared.sample.negative]))

    def embed() -> dict[str, torch.Tensor]:
        if shared.plain:
            return dict(zip(prompts, embed_captions(base, list(prompts)), strict=True))
        return dict(zip(prompts, embed_prompts(base, list(prompts), clip_skip=shared.sample.clip_skip), strict=True))

    return place.once((base.fingerprint, prompts, shared.sample.clip_skip, shared.plain), embed)


def _complete(
    work: Work, base: Base, sample: SampleSpec, touched: Sequence[Task], drawn: dict[Ref, dict[int, np.ndarray]]
) -> Iterator[Made]:  # fmt: skip
    """Write the blocks of which every seed has been drawn."""
    for task in {task.ref: task for task in touched}.values():
        block = task.spec
        if len(drawn.get(task.ref, {})) < len(block.seeds):
            continue
        images = drawn.pop(task.ref)
        if task.ref in work.wanted:
            folder = work.folder(task.ref)
            for seed in block.seeds:
                write_png(folder / f"{seed:08d}.png", images[seed], _parameters(base, sample, block, seed))
            yield Made(task.ref, {
                "arm": spelled(block.who), "replicate": block.replicate, "prompt": block.prompt, "strength": block.strength,
                "seeds": list(block.seeds),
            })  # fmt: skip


def _parameters(base: Base, sample: SampleSpec, block: BlockPlan, seed: int) -> str:
    return parameters_text(
        prompt=block.prompt, negative=sample.negative, steps=sample.steps, sampler=sample.sampler, guidance=sample.guidance, seed=seed,
        size_px=base.size_px, model=base.name, model_hash=base.fingerprint[:10], strength=block.strength,
        lora=None if block.adapter is None else str(block.adapter), schedule=sample.schedule, clip_skip=sample.clip_skip,
        guidance_interval=sample.guidance_interval,
    )  # fmt: skip


def image_files(folder: Path, block: BlockPlan) -> list[Path]:
    """Return a block's files, in the order of its seeds."""
    return [folder / f"{seed:08d}.png" for seed in block.seeds]


def drop_mistaken(store: Store) -> None:
    """Remove, once a lab, what versions before this rule drew with the base in place of a LoRA file that was called as a base is."""
    looked = store.root / "sources.json"
    if looked.is_file():
        return
    for key in store.keys(KIND):
        told = store.manifest(KIND, key)
        if is_base(whose(told["arm"])) and told["strength"] != 0:
            store.drop(KIND, key)
    write_atomically(looked, b"{}")

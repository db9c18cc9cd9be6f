"""The sampling stage: blocks of the grid in, one image artefact a block out, drawn in batches that depend on the whole plan alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from loralab.adapters import Adapter
from loralab.bases import Base
from loralab.crew import ALONE, Crew
from loralab.engine.plan import MAX_IMAGES, BlockPlan
from loralab.measure.files import load_pictures
from loralab.sample import Batch, ImageBlock, parameters_text, plan_batches, sample_batches, write_png
from loralab.spec import AdapterSource, SampleSpec, slice_of
from loralab.spec.sources import is_base, spelled, whose
from loralab.store import Store, artefact_key, write_atomically

IMAGES_VERSION = 1
KIND = "images"
#: (adapter, strength, prompt, seed) -> the block that the picture belongs to
Owners = Mapping[tuple[Hashable, float, str, int], "KeyedBlock"]


@dataclass(frozen=True)
class KeyedBlock:
    """A block of the plan with the key of its artefact."""

    plan: BlockPlan
    key: str


def block_key(sample: SampleSpec, block: BlockPlan, source_key: str) -> str:
    """Return the key of a block's images; ``source_key`` is the adapter's key, or the base's fingerprint."""
    recipe = slice_of(sample, exclude={"seeds", "unrelated"}, later={"schedule", "clip_skip"})
    spec_slice = {"sample": recipe, "prompt": block.prompt, "strength": block.strength, "seeds": list(block.seeds)}
    return artefact_key("images", IMAGES_VERSION, spec_slice, [source_key])


def draw_blocks(
    store: Store,
    base: Base,
    sample: SampleSpec,
    blocks: Sequence[KeyedBlock],
    adapters: Mapping[AdapterSource, Adapter],
    embeddings: Mapping[str, torch.Tensor],
    batch_images: int = MAX_IMAGES,
    crew: Crew = ALONE,
) -> Iterator[tuple[int, int]]:
    """Draw what is missing of ``blocks``; yields (images done, images in all) after each batch.

    Batches are planned over all of ``blocks``, present or not: a resumed study draws each image in the company it had.
    """
    batches = plan_batches([ImageBlock(b.plan.adapter, b.plan.prompt, b.plan.strength, b.plan.seeds) for b in blocks], batch_images)
    owner: Owners = {(b.plan.adapter, b.plan.strength, b.plan.prompt, seed): b for b in blocks for seed in b.plan.seeds}
    missing = {b.key for b in blocks if not store.has(KIND, b.key)}
    drawn: dict[str, dict[int, np.ndarray]] = {}
    done, total = 0, sum(len(b.plan.seeds) for b in blocks)
    cells_of = [[(k, i, owner[(*group, *item)]) for k, group in enumerate(batch.groups) for i, item in enumerate(batch.items[k])]
                for batch in batches]  # fmt: skip
    needed = [any(block.key in missing for _, _, block in cells) for cells in cells_of]
    wanted = [batch for batch, needs in zip(batches, needed, strict=True) if needs]
    found = sample_batches(base, wanted, adapters, sample, embeddings, crew)
    for batch, cells, needs in zip(batches, cells_of, needed, strict=True):
        if needs:
            images = next(found)
            for k, i, block in cells:
                drawn.setdefault(block.key, {})[batch.items[k][i][1]] = images[k, i]
            _publish_complete(store, base, sample, batch, owner, drawn)
        done += len(cells)
        yield done, total


def _publish_complete(
    store: Store,
    base: Base,
    sample: SampleSpec,
    batch: Batch,
    owner: Owners,
    drawn: dict[str, dict[int, np.ndarray]],
) -> None:
    """Publish the blocks of ``batch`` of which every seed has been drawn."""
    touched = {owner[(*group, *item)].key: owner[(*group, *item)] for k, group in enumerate(batch.groups) for item in batch.items[k]}
    for key, block in touched.items():
        if len(drawn.get(key, {})) == len(block.plan.seeds):
            images = drawn.pop(key)
            if not store.has(KIND, key):
                _publish(store, base, sample, block, images)


def _publish(store: Store, base: Base, sample: SampleSpec, block: KeyedBlock, images: Mapping[int, np.ndarray]) -> None:
    manifest = {
        "arm": spelled(block.plan.who), "replicate": block.plan.replicate, "prompt": block.plan.prompt,
        "strength": block.plan.strength, "seeds": list(block.plan.seeds),
    }  # fmt: skip
    with store.publish(KIND, block.key, manifest) as scratch:
        for seed in block.plan.seeds:
            write_png(scratch / f"{seed:08d}.png", images[seed], _parameters(base, sample, block.plan, seed))


def _parameters(base: Base, sample: SampleSpec, block: BlockPlan, seed: int) -> str:
    return parameters_text(
        prompt=block.prompt, negative=sample.negative, steps=sample.steps, sampler=sample.sampler, guidance=sample.guidance, seed=seed,
        size_px=base.size_px, model=base.name, model_hash=base.fingerprint[:10], strength=block.strength,
        lora=None if block.adapter is None else str(block.adapter),
        schedule=sample.schedule, clip_skip=sample.clip_skip,
    )  # fmt: skip


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


def image_files(store: Store, block: KeyedBlock) -> list[Path]:
    """Return a block's files, in the order of its seeds."""
    return [store.path(KIND, block.key) / f"{seed:08d}.png" for seed in block.plan.seeds]


def load_images(store: Store, block: KeyedBlock) -> np.ndarray:
    """Return a block's images as (N, H, W, 3) uint8, in the order of its seeds."""
    return load_pictures(image_files(store, block))

"""The data stage: an arm's training images under its captions, as a kohya folder; and a training set read back from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loralab.bases import Base, embed_prompts, unit_px
from loralab.data import Example, TrainingPicture, caption_for, make_examples, read_folder, write_kohya_folder
from loralab.data.content import folder_path
from loralab.data.prepared import load_prepared, read_prepared, write_prepared
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec import FolderData, ImagesOfData, SampleSpec
from loralab.study.slices import DataSlice
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work, read_manifest

#: seeds of the base's own images start here, far from every replicate's block.
OWN_IMAGES_FIRST_SEED = 1_000_000
#: of a base's own images by number, as many are drawn at once
MOST_TOGETHER = 32


@dataclass(frozen=True)
class Dataset:
    """What an arm is trained on."""

    key: str
    images: np.ndarray  # (N, H, W, 3) uint8
    captions: tuple[str, ...]
    repeats: tuple[int, ...]  # how often an epoch shows each picture, common factors taken out
    folder: Path
    notes: tuple[str, ...]
    pictures: tuple[TrainingPicture, ...] | None = None  # where showings differ; ``images`` are then their square crops, for instruments
    prior_loss_weight: float = 1.0


def make_datasets(work: Work, place: Place) -> Iterator[Message]:
    """Make training sets; what is trained on is always read back from the PNGs."""
    base = place.bases[work.group.base]
    for task in work.missing:
        yield Made(task.ref, _write(base, task.spec, work.folder(task.ref)))


def _write(base: Base, its: DataSlice, folder: Path) -> dict[str, Any]:
    """Write a training set into ``folder``; return its manifest."""
    if isinstance(its.data, FolderData) and its.data.has_showings:
        sides = base.size_px, unit_px(base)
        subsets, notes = read_prepared(its.data, its.study_folder, *sides)
        return {"data": its.arm.data, "notes": notes, "pictures": write_prepared(subsets, its.arm.captions, folder, its.name, *sides)}
    examples, notes = _examples(base, its)
    template = its.arm.captions
    captions = [caption_for(template, example) if template is not None else example.caption for example in examples]
    write_kohya_folder(examples, captions, folder, repeats=1, name=its.name)
    return {"data": its.arm.data, "captions": captions, "repeats": relative_repeats(examples), "notes": notes}


def load_dataset(folder: Path, size_px: int, prior_loss_weight: float = 1.0) -> Dataset:
    """Return the training set that lies in ``folder``, an artefact."""
    manifest = read_manifest(folder)
    images = np.stack([example.image for example in read_folder(folder, size_px).examples])
    notes = tuple(manifest["notes"])
    if "pictures" not in manifest:
        return Dataset(folder.name, images, tuple(manifest["captions"]), tuple(manifest["repeats"]), folder, notes)
    pictures = load_prepared(folder, manifest["pictures"])
    taught = [picture for picture in pictures if not picture.options.is_reg]
    captions, repeats = tuple(picture.caption for picture in taught), tuple(picture.options.num_repeats for picture in taught)
    return Dataset(folder.name, images, captions, repeats, folder, notes, pictures, prior_loss_weight)


def relative_repeats(examples: Sequence[Example]) -> list[int]:
    """Return how often an epoch shows each picture: kohya's repeats without their common factor, since epochs have no meaning here."""
    repeats = [int(example.factors.get("repeats", 1)) for example in examples]
    common = math.gcd(*repeats) or 1
    return [n // common for n in repeats]


def _examples(base: Base, its: DataSlice) -> tuple[Sequence[Example], list[str]]:
    if isinstance(its.data, ImagesOfData):
        return _own_images(base, its.data, its.clip_skip), []
    if isinstance(its.data, FolderData):
        contents = read_folder(folder_path(its.data, its.study_folder), base.size_px)
        return contents.examples, list(contents.notes)
    return make_examples(its.data, base.size_px), []


def _own_images(base: Base, data: ImagesOfData, clip_skip: int) -> list[Example]:
    """Draw the base's own images, each with a seed of its own; many of them in several batches."""
    recipe = SampleSpec(steps=data.steps, guidance=data.guidance, seeds=1)
    blocks = [ImageBlock(None, prompt, 0.0, (OWN_IMAGES_FIRST_SEED + index,)) for index, prompt in enumerate(data.drawn_prompts)]
    prompts = [*dict.fromkeys([*data.prompts, recipe.negative])]
    embeddings = dict(zip(prompts, embed_prompts(base, prompts, clip_skip=clip_skip), strict=True))
    drawn: dict[tuple[str, int], np.ndarray] = {}
    for batch in plan_batches(blocks, len(blocks) if data.count is None else min(len(blocks), MOST_TOGETHER)):
        images = sample_batch(base, batch, {}, recipe, embeddings)
        for group_images, items in zip(images, batch.items, strict=True):
            drawn.update(zip(items, group_images, strict=True))
    return [
        Example(image=drawn[block.prompt, block.seeds[0]], caption=block.prompt, factors={"prompt": block.prompt}, source="base")
        for block in blocks
    ]

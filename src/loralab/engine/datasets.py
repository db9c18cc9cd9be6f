"""The data stage: an arm's training images under its captions, as a kohya folder in the store."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loralab.bases import Base, embed_prompts, unit_px
from loralab.data import Example, TrainingPicture, caption_for, make_examples, read_folder, write_kohya_folder
from loralab.engine.prepared import load_prepared, read_prepared, sources_sha256, write_prepared
from loralab.errors import lab_error
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec import ArmSpec, FolderData, ImagesOfData, SampleSpec, StudySpec, slice_of
from loralab.spec.elsewhere import named_path
from loralab.store import Store, artefact_key

DATA_VERSION = 2
KIND = "data"
#: seeds of the base's own images start here, far from every replicate's block.
OWN_IMAGES_FIRST_SEED = 1_000_000


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


def make_dataset(store: Store, base: Base, spec: StudySpec, arm_name: str, study_folder: Path) -> Dataset:
    """Return the arm's data set, made if the store does not hold it; what is trained on is always read back from the PNGs."""
    arm = spec.arms[arm_name]
    key = _dataset_key(base, spec, arm, study_folder)
    data = spec.data[arm.data]
    if isinstance(data, FolderData) and data.has_showings:
        return _make_prepared(store, base, data, arm, arm_name, key, study_folder)
    if not store.has(KIND, key):
        examples, notes = _examples(base, spec, arm, study_folder)
        captions = [caption_for(arm.captions, example) if arm.captions is not None else example.caption for example in examples]
        inside = {"data": arm.data, "captions": captions, "repeats": relative_repeats(examples), "notes": notes}
        with store.publish(KIND, key, inside) as scratch:
            write_kohya_folder(examples, captions, scratch, repeats=1, name=arm_name)
    manifest = store.manifest(KIND, key)
    contents = read_folder(store.path(KIND, key), base.size_px)
    images = np.stack([example.image for example in contents.examples])
    return Dataset(
        key, images, tuple(manifest["captions"]), tuple(manifest["repeats"]), store.path(KIND, key), tuple(manifest["notes"])
    )  # fmt: skip


def _make_prepared(store: Store, base: Base, data: FolderData, arm: ArmSpec, arm_name: str, key: str, study_folder: Path) -> Dataset:
    """Return a data set whose showings differ, made if the store does not hold it."""
    if not store.has(KIND, key):
        subsets, notes = read_prepared(base, data, study_folder)
        inside: dict[str, Any] = {"data": arm.data, "notes": notes, "pictures": []}
        with store.publish(KIND, key, inside) as scratch:
            inside["pictures"] += write_prepared(base, subsets, arm.captions, scratch, arm_name)
    manifest = store.manifest(KIND, key)
    folder = store.path(KIND, key)
    pictures = load_prepared(folder, manifest["pictures"])
    taught = [picture for picture in pictures if not picture.options.is_reg]
    images = np.stack([example.image for example in read_folder(folder, base.size_px).examples])
    captions, repeats = tuple(picture.caption for picture in taught), tuple(picture.options.num_repeats for picture in taught)
    return Dataset(key, images, captions, repeats, folder, tuple(manifest["notes"]), pictures, data.prior_loss_weight)


def relative_repeats(examples: Sequence[Example]) -> list[int]:
    """Return how often an epoch shows each picture: kohya's repeats without their common factor, since epochs have no meaning here."""
    repeats = [int(example.factors.get("repeats", 1)) for example in examples]
    common = math.gcd(*repeats) or 1
    return [n // common for n in repeats]


def _dataset_key(base: Base, spec: StudySpec, arm: ArmSpec, study_folder: Path) -> str:
    data = spec.data[arm.data]
    spec_slice = {"data": slice_of(data), "captions": arm.captions, "size_px": base.size_px}
    if isinstance(data, FolderData):
        spec_slice["data"] = _folder_slice(data, study_folder, base)
    if isinstance(data, ImagesOfData) and spec.sample.clip_skip != 1:
        spec_slice["clip_skip"] = spec.sample.clip_skip
    inputs = [base.fingerprint] if isinstance(data, ImagesOfData) else []
    return artefact_key("data", DATA_VERSION, spec_slice, inputs)


def _folder_slice(data: FolderData, study_folder: Path, base: Base) -> dict[str, Any]:
    """Return what a folder's data set follows from: its bytes, and its options where it has any."""
    if not data.has_showings:
        return {"content": _folder_sha256(folder_path(data, study_folder))}
    options = slice_of(data, exclude={"folder", "masks", "regularisation"})
    return {"content": sources_sha256(data, study_folder, _folder_sha256), "options": options, "unit_px": unit_px(base)}


def folder_path(data: FolderData, study_folder: Path) -> Path:
    """Return the folder that a study names, relative to the study file."""
    return named_path(data.folder, study_folder).resolve()


def _folder_sha256(folder: Path) -> str:
    """Return the hash of every file name and byte in ``folder``: an edited caption or image is another data set."""
    if not folder.is_dir():
        raise lab_error(
            "data", f"no folder at {folder}", "a folder of training images", "check `folder:` in the study (relative to the study file)"
        )
    digest = hashlib.sha256()
    for file in sorted((item for item in folder.rglob("*") if item.is_file()), key=lambda item: item.relative_to(folder).parts):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _examples(base: Base, spec: StudySpec, arm: ArmSpec, study_folder: Path) -> tuple[Sequence[Example], list[str]]:
    data = spec.data[arm.data]
    if isinstance(data, ImagesOfData):
        return _own_images(base, data, spec.sample.clip_skip), []
    if isinstance(data, FolderData):
        contents = read_folder(folder_path(data, study_folder), base.size_px)
        return contents.examples, list(contents.notes)
    return make_examples(data, base.size_px), []


def _own_images(base: Base, data: ImagesOfData, clip_skip: int) -> list[Example]:
    """Draw the base's own images, one a prompt, each with a seed of its own."""
    recipe = SampleSpec(steps=data.steps, guidance=data.guidance, seeds=1)
    blocks = [ImageBlock(None, prompt, 0.0, (OWN_IMAGES_FIRST_SEED + index,)) for index, prompt in enumerate(data.prompts)]
    prompts = [*dict.fromkeys([*data.prompts, recipe.negative])]
    embeddings = dict(zip(prompts, embed_prompts(base, prompts, clip_skip=clip_skip), strict=True))
    drawn: dict[tuple[str, int], np.ndarray] = {}
    for batch in plan_batches(blocks, len(blocks)):
        images = sample_batch(base, batch, {}, recipe, embeddings)
        for group_images, items in zip(images, batch.items, strict=True):
            drawn.update(zip(items, group_images, strict=True))
    return [
        Example(image=drawn[block.prompt, block.seeds[0]], caption=block.prompt, factors={"prompt": block.prompt}, source="base")
        for block in blocks
    ]

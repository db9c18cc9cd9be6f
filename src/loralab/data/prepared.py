"""Data sets whose showings differ: read under their options, resized to their buckets, and kept as kohya folders in the store.

Training pictures lie in `1_<arm>/`, regularisation pictures in `reg/1_<arm>/`, masks in `masks/` and `reg-masks/`; the manifest holds
captions, buckets and options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loralab.data import Example, Subset, TrainingPicture, caption_for, make_training_pictures, read_dataset, write_kohya_folder
from loralab.data.buckets import make_rule, resize_to_cover
from loralab.data.dataset import unique_names
from loralab.data.folders import Cut
from loralab.errors import LabError, Problem, lab_error
from loralab.spec import FolderData
from loralab.spec.datasets import CaptionSpec, PictureSpec, SubsetSpec


def subset_of(data: FolderData, folder: str, *, is_reg: bool = False) -> SubsetSpec:
    """Return a folder of the study as a subset, with the study's options; masks, trigger and affixes belong to training pictures alone."""
    shared = {name: getattr(data, name) for kind in (CaptionSpec, PictureSpec) for name in kind.model_fields}
    if is_reg:  # what calls the taught thing must not call these
        shared |= {"trigger": "", "caption_prefix": "", "caption_suffix": ""}
    return SubsetSpec(image_dir=folder or "/", is_reg=is_reg, conditioning_data_dir="" if is_reg else data.masks, **shared)


def read_prepared(data: FolderData, study_folder: Path, size_px: int, unit_px: int) -> tuple[list[Subset], list[str]]:
    """Return the subsets with pictures resized to cover their buckets, and notes; raises LabError("data") with every problem."""
    path = (study_folder / data.folder).resolve()

    def cut_for(options: SubsetSpec) -> Cut:
        rule = make_rule(options.pictures(), size_px, unit_px)
        return lambda picture: resize_to_cover(picture, rule)

    if data.is_file:
        contents = read_dataset(path, cut_for)
        return list(contents.subsets), list(contents.notes)
    masks = {"conditioning_data_dir": str((study_folder / data.masks).resolve()) if data.masks else ""}
    sources = [(path, subset_of(data, path.name).model_copy(update=masks))]
    if data.regularisation:
        reg = (study_folder / data.regularisation).resolve()
        sources.append((reg, subset_of(data, reg.name, is_reg=True)))
    return _read_all(sources, cut_for)


def _read_all(sources: Sequence[tuple[Path, SubsetSpec]], cut_for: Callable[[SubsetSpec], Cut]) -> tuple[list[Subset], list[str]]:
    subsets: list[Subset] = []
    notes: list[str] = []
    problems: list[Problem] = []
    names = unique_names([path.as_posix() for path, _ in sources]) if len(sources) > 1 else [""]
    for (path, options), name in zip(sources, names, strict=True):
        try:
            contents = read_dataset(path, cut_for, options, name)
        except LabError as error:
            problems.extend(error.problems)
            continue
        subsets += contents.subsets
        notes += contents.notes
    if problems:
        raise LabError("data", problems)
    return subsets, notes


def write_prepared(
    subsets: Sequence[Subset], captions: str | None, folder: Path, arm: str, size_px: int, unit_px: int
) -> list[dict[str, Any]]:  # fmt: skip
    """Write the pictures into ``folder``; return the rows that the manifest keeps, training pictures first."""
    ordered = sorted(subsets, key=lambda subset: subset.options.is_reg)
    rules = [make_rule(subset.options.pictures(), size_px, unit_px) for subset in ordered]
    examples = [example for subset in ordered for example in subset.examples]
    texts = [
        example.caption if captions is None or subset.options.is_reg else caption_for(captions, example)
        for subset in ordered for example in subset.examples
    ]  # fmt: skip
    n_taught = sum(len(subset.examples) for subset in ordered if not subset.options.is_reg)
    if n_taught == 0:
        raise lab_error("data", "only regularisation pictures", "training pictures as well")
    _write_part(examples[:n_taught], texts[:n_taught], folder, folder / "masks", arm)
    if examples[n_taught:]:
        _write_part(examples[n_taught:], texts[n_taught:], folder / "reg", folder / "reg-masks", arm)
    pictures = make_training_pictures(ordered, texts, rules)
    return [
        {"caption": picture.caption, "bucket": list(picture.bucket), "masked": picture.mask is not None, "options": _options(picture)}
        for picture in pictures
    ]  # fmt: skip


def _options(picture: TrainingPicture) -> dict[str, Any]:
    """Return the options without paths: a data set is the same wherever it lies."""
    return picture.options.model_copy(update={"image_dir": "pictures", "conditioning_data_dir": ""}).model_dump(mode="json")


def _write_part(examples: Sequence[Example], captions: Sequence[str], folder: Path, masks: Path, arm: str) -> None:
    write_kohya_folder(examples, captions, folder, repeats=1, name=arm)
    for number, example in enumerate(examples, start=1):
        if example.mask is not None:
            masks.mkdir(exist_ok=True)
            Image.fromarray(example.mask).save(masks / f"{number:04d}.png")


def load_prepared(folder: Path, rows: Sequence[dict[str, Any]]) -> tuple[TrainingPicture, ...]:
    """Return the pictures that `write_prepared` wrote, read back from their PNGs."""
    return tuple(_load(folder, rows))


def _load(folder: Path, rows: Sequence[dict[str, Any]]) -> Iterator[TrainingPicture]:
    counts = {False: 0, True: 0}
    for row in rows:
        options = SubsetSpec.model_validate(row["options"])
        counts[options.is_reg] += 1
        name = f"{counts[options.is_reg]:04d}.png"
        inside = next((folder / "reg" if options.is_reg else folder).glob("1_*")) / name
        mask = folder / ("reg-masks" if options.is_reg else "masks") / name
        width, height = row["bucket"]
        yield TrainingPicture(
            _pixels(inside), _pixels(mask) if row["masked"] else None, row["caption"], options, (int(width), int(height))
        )  # fmt: skip


def _pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)

"""The comparing stage: image blocks in; what an embedder makes of each picture out, so that likeness is a distance.

A picture's features are a reading of many numbers; what is compared (the base's picture, a training set, another seed) is compared later.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from loralab.measure.embedders import Embedder, load_embedder
from loralab.measure.files import load_pictures
from loralab.stages.images import image_files
from loralab.study.slices import FeatureSlice
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work

LIKENESS_FILE, COPIES_FILE = "likeness.npy", "copies.npy"


def make_features(work: Work, place: Place) -> Iterator[Message]:
    """Embed the pictures of blocks, each block by itself: its features do not depend on what else is missing."""
    embedder = embedder_of(place, work.group.spec)
    for task in work.missing:
        (images,) = task.inputs
        pictures, folder = load_pictures(image_files(work.folders[images], task.spec)), work.folder(task.ref)
        np.save(folder / LIKENESS_FILE, embedder.embed(pictures))
        if embedder.copies is not None:
            np.save(folder / COPIES_FILE, embedder.copies(pictures))
        yield Made(task.ref, {"embedder": embedder.name, "images": images.key})


def embedder_of(place: Place, shared: FeatureSlice) -> Embedder:
    """Return the embedder, loaded once a process."""
    return place.once(shared, lambda: load_embedder(shared.folder, shared.base_name))


def load_features(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the features (S, D) of a block by which likeness is told, and those (S, E) by which copies are; they may be the same."""
    likeness = np.load(folder / LIKENESS_FILE, allow_pickle=False)
    return likeness, np.load(folder / COPIES_FILE, allow_pickle=False) if (folder / COPIES_FILE).is_file() else likeness

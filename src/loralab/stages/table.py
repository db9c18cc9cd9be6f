"""The stages by name: what an executor calls, in whatever process, to make a group of artefacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from loralab.stages.cards import make_card_files
from loralab.stages.combined import make_sums
from loralab.stages.data import make_datasets
from loralab.stages.features import make_features
from loralab.stages.images import make_images
from loralab.stages.imported import make_copies
from loralab.stages.null import make_twins
from loralab.stages.plumbing import make_checks
from loralab.stages.readings import make_readings
from loralab.stages.trained import make_adapters
from loralab.work.place import Place
from loralab.work.task import Message, Work

#: a stage takes what is to be made and where, and yields how far it is and what lies whole in the scratch folder
Stage = Callable[[Work, Place], Iterator[Message]]

STAGES: Mapping[str, Stage] = {
    "data": make_datasets,
    "trained": make_adapters,
    "imported": make_copies,
    "combined": make_sums,
    "null": make_twins,
    "images": make_images,
    "plumbing": make_checks,
    "cards": make_card_files,
    "readings": make_readings,
    "features": make_features,
}


def run_stage(work: Work, place: Place) -> Iterator[Message]:
    """Make what ``work`` wants, in this process."""
    return STAGES[work.group.stage](work, place)

"""What an audit found, as data: the page, the terminal and JSON are made from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loralab.auditing.remark import Remark
from loralab.data import Trigger
from loralab.data.gathering import LeftOut
from loralab.errors import Problem


@dataclass(frozen=True)
class TagRow:
    """A tag with how many pictures have it, and its share of what training shows."""

    tag: str
    pictures: int
    share_of_training: float


@dataclass(frozen=True)
class FolderRow:
    """A folder with its pictures, repeats, showings in an epoch, and its share of them."""

    folder: str
    pictures: int
    repeats: int
    showings: int
    share_of_training: float


@dataclass(frozen=True)
class PictureFacts:
    """One picture as the page shows it."""

    file: str
    caption: str
    width: int
    height: int
    image: np.ndarray


@dataclass(frozen=True)
class Audit:
    """What was found in a data set; ``problems`` are what keeps it from being trained, ``left_out`` the files that are not used."""

    name: str
    trigger: Trigger | None
    trigger_captions: int
    trigger_first: int
    remarks: tuple[Remark, ...]
    tags: tuple[TagRow, ...]
    folders: tuple[FolderRow, ...]
    pictures: tuple[PictureFacts, ...]
    notes: tuple[str, ...]
    regularisation_pictures: int
    problems: tuple[Problem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    mark: str = ""  # tells data sets of one name apart, without saying where they lie

    def files_of(self, remark: Remark) -> list[str]:
        """Return the names of the pictures that a remark is about."""
        return [self.pictures[index].file for index in remark.pictures]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pixels; remarks name their pictures' files."""
        return {
            "dataset": self.name, "pictures": len(self.pictures), "regularisation_pictures": self.regularisation_pictures,
            "problems": [{key: value for key, value in asdict(problem).items() if value} for problem in self.problems],
            "trigger": _trigger_json(self.trigger) | {"captions": self.trigger_captions, "first": self.trigger_first},
            "remarks": [{**asdict(remark), "pictures": self.files_of(remark)} for remark in self.remarks],
            "tags": [asdict(row) for row in self.tags], "folders": [asdict(row) for row in self.folders], "notes": list(self.notes),
            "files_not_used": [{"file": each.file, "why": each.why} for each in self.left_out],
        }  # fmt: skip


def _trigger_json(trigger: Trigger | None) -> dict[str, Any]:
    if trigger is None:
        return {"word": "", "guessed": False, "sure": "unknown", "from": "", "others": []}
    return {"word": trigger.words, "guessed": trigger.guessed, "sure": trigger.sure, "from": trigger.source, "others": list(trigger.others)}

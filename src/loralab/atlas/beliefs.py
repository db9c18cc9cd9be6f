"""The beliefs of the atlas: the studies that ship in, one record each out, by number; and what these leave out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from loralab.errors import lab_error
from loralab.spec.load import ATLAS, study_folders
from loralab.spec.tree import parse_yaml, plain, read_text

#: the experiment of a study whose claims are the belief; the others ask what it needs, or what else is said
BELIEF = "belief"
#: and the one that shows that there was something to see
ASSAY = "assay"
#: a claim about the share of the scatter that lies between trainings
BETWEEN = "between_trainings"

#: instrument -> the smallest change that counts, the same in every study of the atlas; set before any of them was run
MARGINS: Mapping[str, float] = {
    "change": 4, "copy_distance": 5, "diversity": 8, "background_from_white": 10, "background_lightness": 5, "off_centre": 0.05,
    "composition_kept": 0.1, "hue": 0.25, "concept": 0.25, "grid_present": 0.25, "shape_primitive": 0.25, "symmetry": 0.1,
    BETWEEN: 0.25,
}  # fmt: skip

#: number -> what of the belief its study leaves out
LEFT_OUT: Mapping[int, str] = {
    10: "a rate tuned for each kind: all are compared at one rate",
    16: "D-Adapt, SGD and schedule-free AdamW; how much trainings differ",
    18: "left and right themselves, which no instrument tells apart",
    20: "an ancestor of the base: the other base is a sibling that was trained from nothing",
    24: "the loss, which is no reading of a picture",
    26: "drawing at the layer before the last",
}


@dataclass(frozen=True)
class Belief:
    """A belief as its study tells it."""

    number: int
    name: str  # 01-unsaid
    path: Path
    study: str  # the study's name in a lab: atlas-01-unsaid
    says: str
    said_by: tuple[str, ...]
    question: str

    @property
    def command(self) -> str:
        """How it is asked again."""
        return f"loralab atlas {self.number:02d}"


@cache
def all_beliefs() -> tuple[Belief, ...]:
    """Return the beliefs that a study asks, by number; empty where no study of the atlas is installed."""
    folder = next((folder / ATLAS for folder in study_folders() if (folder / ATLAS).is_dir()), None)
    files = sorted(folder.glob("[0-9][0-9]-*.yaml")) if folder is not None else []
    return tuple(_read(file) for file in files)


def _read(file: Path) -> Belief:
    tree, _ = parse_yaml(read_text(file), file.name)
    study = plain(tree, file.name)
    asked = study["experiments"][BELIEF]
    said_by = tuple(study.get("said_by", ()))
    return Belief(int(file.stem[:2]), file.stem, file, study["study"], asked["belief"], said_by, asked["question"])


def belief_of(which: str) -> Belief:
    """Return the belief of a number or name; raises LabError("spec") with what there is."""
    wanted = re.sub(rf"^{ATLAS}[-/]", "", which.strip().removesuffix(".yaml"))
    number = int(wanted) if re.fullmatch(r"\d{1,2}", wanted) else None
    for belief in all_beliefs():
        if wanted == belief.name or number == belief.number:
            return belief
    known = ", ".join(belief.name for belief in all_beliefs())
    raise lab_error("spec", f"the atlas has no belief {which!r}", f"a number, or one of {known}")

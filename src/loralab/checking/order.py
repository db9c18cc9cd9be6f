"""When in its training a LoRA file was saved: its path and metadata in; steps, epochs and the training's name out.

Trainers tell it in metadata (kohya, musubi, ai-toolkit) or in names alone (diffusers, OneTrainer, SimpleTuner); the tables below hold
what each writes. A resumed training begins its count of steps again: then the start of each session comes first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["step", "epoch"]
Metadata = Mapping[str, str]

#: endings of names, the most telling first -> what the last number counts
ENDINGS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"-save-(?P<n>\d+)-\d+-\d+$"), "step"),  # OneTrainer: step, epoch, step of the epoch
    (re.compile(r"(?:^|[-_ .])e(?:p|poch)?[-_]?\d+[-_]+(?:gs|s|steps?)[-_]?(?P<n>\d+)$", re.IGNORECASE), "step"),
    (re.compile(r"(?:^|[-_ .])steps?[-_ ]?(?P<n>\d+)$", re.IGNORECASE), "step"),  # kohya and musubi: -step00000500
    (re.compile(r"(?:^|[-_ .])(?P<n>\d+)[-_ ]?steps?(?:_\d{5}_?)?$", re.IGNORECASE), "step"),  # ComfyUI: _500_steps_00001_
    (re.compile(r"(?:^|[-_ .])checkpoint[-_]?(?P<n>\d+)$", re.IGNORECASE), "step"),
    (re.compile(r"(?:^|[-_ .])(?:epoch|ep|e)[-_ ]?(?P<n>\d+)$", re.IGNORECASE), "epoch"),
    (re.compile(r"(?:^|[-_ .])(?P<n>\d+)[-_ ]?epochs?$", re.IGNORECASE), "epoch"),
    (re.compile(r"-(?P<n>0\d{5})$"), "epoch"),  # kohya and musubi; without the zero it may be a date
    (re.compile(r"_(?P<n>0\d{8})$"), "step"),  # ai-toolkit
)
#: folders of a moment -> what their number counts
FOLDERS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"(?:checkpoint[-_])?epoch[-_]?(?P<n>\d+)", re.IGNORECASE), "epoch"),
    (re.compile(r"(?:checkpoint|step|global_step)[-_]?(?P<n>\d+)", re.IGNORECASE), "step"),
    (re.compile(r".*backup-(?P<n>\d+)-\d+-\d+", re.IGNORECASE), "step"),  # OneTrainer: step, epoch, step of the epoch; the file in lora/
    (re.compile(r"(?P<n>0\d{5})"), "step"),  # finetrainers
)
#: folders of a moment that hold the file one level further in
INNER = "lora"
#: how people call the last moment
LAST = re.compile(r"[-_ .](last|final)$", re.IGNORECASE)
#: OneTrainer puts the time of each save before the ending
TIMESTAMP = re.compile(r"[-_]?\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Mark:
    """What a file's name says: whose moment it is (``training`` is equal for files of one training), and which, if it says that."""

    training: str
    kind: Kind | None
    number: int | None
    home: Path  # the folder that holds the training
    in_folder: bool = False  # the folder tells the moment, not the name


@dataclass(frozen=True)
class Moment:
    """When a file was saved, by its metadata; None where it does not say."""

    session: float | None  # when the training was started (ss_training_started_at)
    step: int | None
    epoch: int | None


@dataclass(frozen=True)
class Place:
    """A file's place in its training: what it is sorted by, what it is called, and where it stands on the axis (None: not known)."""

    key: tuple[float, float]
    label: str
    at: float | None


def is_moment(folder: str) -> bool:
    """Return whether a folder of that name holds the file of a moment."""
    return any(pattern.fullmatch(folder) for pattern, _ in FOLDERS)


def mark_of(path: Path) -> Mark:
    """Return what the name of a file, or of the folder of its moment, says."""
    folder = Path(os.path.abspath(path)).parent
    for pattern, kind in ENDINGS:
        if found := pattern.search(path.stem):
            bare = TIMESTAMP.sub("", path.stem[: found.start()])
            return Mark(bare.lower(), kind, int(found["n"][:15]), folder)
    for moment in (folder, *([folder.parent] if folder.name.lower() == INNER else ())):
        for pattern, kind in FOLDERS:
            if found := pattern.fullmatch(moment.name):
                return Mark(path.stem.lower(), kind, int(found["n"][:15]), moment.parent, in_folder=True)
    return Mark(LAST.sub("", path.stem).lower(), None, None, folder)


def moment_of(metadata: Metadata) -> Moment:
    """Return what metadata says of the moment: kohya's and musubi's `ss_` keys, ai-toolkit's `training_info`, the lab's own."""
    info = _training_info(metadata)
    step = _whole(metadata.get("ss_steps")) or _whole(info.get("step"))
    if step is None and "loralab.key" in metadata:  # the lab's own: only what was kept on the way names its step
        step = _whole(metadata.get("ss_max_train_steps"))
    started = metadata.get("ss_training_started_at", "")
    session = float(started) if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", started) else None
    epoch = _whole(metadata.get("ss_epoch"))
    return Moment(session, step, _whole(info.get("epoch")) if epoch is None else epoch)


def _training_info(metadata: Metadata) -> Mapping[str, object]:
    try:
        found = json.loads(metadata.get("training_info", "")[: 1 << 16] or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> int | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return int(text) if re.fullmatch(r"\d{1,12}", text) else None


def places_of(marks: Sequence[Mark], moments: Sequence[Moment]) -> tuple[list[Place] | None, str]:
    """Return the files' places (None: their order cannot be known) and what a reader should know of how they were told.

    Metadata that names the start of each session wins; else metadata and names must not contradict one another.
    """
    told, named = by_steps(moments), by_names(marks)
    resumed = told is not None and len({moment.session for moment in moments}) > 1
    if told and named and not resumed and _sorted(told) != _sorted(named):
        return None, "Their names and the steps in their metadata give different orders."
    if told and resumed:
        return told, "The training was resumed: its parts are put in the order in which they were started, and their steps are added up."
    return told or named or by_epochs(moments), ""


def _sorted(places: Sequence[Place]) -> list[int]:
    return sorted(range(len(places)), key=lambda index: places[index].key)


def _distinct(places: list[Place]) -> list[Place] | None:
    return places if len({place.key for place in places}) == len(places) else None


def by_steps(moments: Sequence[Moment]) -> list[Place] | None:
    """Return places by the steps in metadata; sessions of a resumed training one behind the other, their steps added up."""
    if any(moment.step is None for moment in moments):
        return None
    sessions = sorted({moment.session for moment in moments if moment.session is not None})
    if len(sessions) > 1 and any(moment.session is None for moment in moments):
        return None
    offsets = _offsets(sessions, moments)
    epochs = [moment.epoch for moment in moments]
    by_epoch = None not in epochs and len(set(epochs)) == len(epochs)
    places = []
    for moment in moments:
        part = sessions.index(moment.session) + 1 if len(sessions) > 1 and moment.session is not None else 0
        label = f"epoch {moment.epoch}" if by_epoch else f"step {moment.step}"
        at = offsets.get(moment.session, 0) + float(moment.step or 0)
        places.append(Place((part, float(moment.step or 0)), f"part {part}, {label}" if part else label, at))
    return _distinct(places)


def _offsets(sessions: Sequence[float], moments: Sequence[Moment]) -> dict[float | None, float]:
    """Return how many steps lie before each session; one that counts on from the last has none of its own."""
    found: dict[float | None, float] = {}
    reached = 0.0
    for session in sessions:
        steps = [float(moment.step or 0) for moment in moments if moment.session == session]
        found[session] = 0.0 if min(steps) > reached else reached
        reached = found[session] + max(steps)
    return found


def by_names(marks: Sequence[Mark]) -> list[Place] | None:
    """Return places by names of one training: numbers that count the same, and at most one file without a number, the last."""
    whole = [mark for mark in marks if mark.number is None]
    kinds = {mark.kind for mark in marks if mark.kind is not None}
    if len(kinds) != 1 or len(whole) > 1:
        return None
    kind = next(iter(kinds))
    places = [
        Place((float("inf"), 0), "the last", None) if mark.number is None else Place((mark.number, 0), f"{kind} {mark.number}", mark.number)
        for mark in marks
    ]
    return _distinct(places)


def by_epochs(moments: Sequence[Moment]) -> list[Place] | None:
    """Return places by the epochs in metadata, where no steps are told."""
    epochs = [moment.epoch for moment in moments if moment.epoch is not None]
    if len(epochs) < len(moments):
        return None
    return _distinct([Place((epoch, 0), f"epoch {epoch}", epoch) for epoch in epochs])


def is_one_training(marks: Sequence[Mark], names: Sequence[str | None], sessions: Sequence[str | None]) -> bool:
    """Return whether files belong to one training: the same session, the same name in the metadata, or names that differ by the moment.

    Where folders tell the moment, they must lie in one folder.
    """
    homes = {mark.home for mark in marks} if any(mark.in_folder for mark in marks) else set()
    return _agree(sessions) or _agree(names) or (_agree([mark.training for mark in marks]) and len(homes) <= 1)


def _agree(values: Sequence[str | None]) -> bool:
    return None not in values and len(set(values)) == 1

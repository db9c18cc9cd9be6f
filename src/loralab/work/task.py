"""What is made of what: artefacts and the tasks that make them, grouped by the plan; what a stage is given, and what it tells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loralab.store import MANIFEST, Ref


@dataclass(frozen=True)
class Task:
    """One artefact to be made: ``spec`` is all that its stage needs beside the inputs; frozen, and picklable."""

    ref: Ref
    spec: Any
    inputs: tuple[Ref, ...] = ()
    any_input: bool = False  # whether it is made of those inputs that did not fail, if there is one

    def is_made_of(self, there: Container[Ref]) -> bool:
        """Return whether it can be made of the inputs that are there; what cannot, never will."""
        found = [ref in there for ref in self.inputs]
        return (any(found) if self.any_input else all(found)) or not found


@dataclass(frozen=True)
class Group:
    """Tasks that are made together: one stack, one set of batches; fixed by the plan, so that a resumed study groups as it did at first."""

    stage: str  # a row of the table of stages
    title: str  # what the clock calls the time that it takes
    tasks: tuple[Task, ...]
    spec: Any = None  # what the tasks share
    base: str = ""  # the fingerprint of the base that is needed
    word: str = ""  # of whose bar it is a part
    note: str = ""
    weight: float = 1.0  # its share of the bar, in units of work
    beside: bool = False  # needs no processes, so that it may be made while others work

    @property
    def key(self) -> str:
        """The group's own key: what was left unfinished of it is found by this."""
        return hashlib.sha256(json.dumps([self.stage, [task.ref for task in self.tasks]]).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Work:
    """A group as a stage is given it.

    ``wanted`` are the artefacts to make (their company in the group may be there already), ``folders`` those of the inputs that did not
    fail, ``scratch`` an empty folder, ``resume`` one that outlives a killed process and is the same for the same group.
    """

    group: Group
    wanted: frozenset[Ref]
    folders: Mapping[Ref, Path]
    scratch: Path
    resume: Path

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that are not void, made already or not."""
        return tuple(task for task in self.group.tasks if task.is_made_of(self.folders))

    @property
    def missing(self) -> tuple[Task, ...]:
        """The tasks that are to be made, their company left out."""
        return tuple(task for task in self.tasks if task.ref in self.wanted)

    def folder(self, ref: Ref) -> Path:
        """Return the new folder in which an artefact is to be written."""
        folder = self.scratch / ref.key
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class Progress:
    """How far a group is, in units of its own."""

    done: float
    total: float
    note: str = ""


@dataclass(frozen=True)
class Made:
    """An artefact lies whole in its folder; ``manifest`` is what the store keeps of it."""

    ref: Ref
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """A group has no more to tell."""


Message = Progress | Made


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what the store keeps of the artefact in ``folder``."""
    return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))

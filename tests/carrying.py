"""Carries groups of tasks out in this process, as the engine does, and returns what was told."""

from __future__ import annotations

from collections.abc import Sequence

from loralab.bases import Base
from loralab.stages import run_stage
from loralab.store import Store
from loralab.work.events import Event, StageClock
from loralab.work.execute import execute
from loralab.work.inline import Inline
from loralab.work.place import Place
from loralab.work.task import Group


def carry(groups: Sequence[Group], store: Store, base: Base) -> list[Event]:
    """Make what is missing of the groups on one base."""
    return list(execute(groups, store, Inline(Place({base.fingerprint: base}), run_stage), StageClock()))

"""Processes on this machine: stacks trained in parts, a batch drawn each, blocks measured beside each other; one thread each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from loralab.crew import Crew
from loralab.work.inline import Inline, RunStage
from loralab.work.place import Place

if TYPE_CHECKING:
    from loralab.bases import Base


def with_processes(bases: Mapping[str, Base], n: int, run_stage: RunStage) -> Inline:
    """Return an executor with ``n`` processes beside this one, which share its threads; with one, all is done here."""
    return Inline(Place(bases, Crew(n, torch.get_num_threads() // max(1, n))), run_stage)

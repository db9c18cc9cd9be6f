"""What carries groups out: the protocol that one process, processes beside each other, or many machines implement."""

from __future__ import annotations

from typing import Protocol

from loralab.work.task import Ended, Group, Message, Work


class Executor(Protocol):
    """Takes groups and tells what becomes of them; no stage knows which executor it is called by."""

    def takes(self, group: Group) -> bool:
        """Return whether there is room for another group now."""
        ...

    def submit(self, work: Work) -> None:
        """Begin; returns at once."""
        ...

    def next(self) -> tuple[Group, Message | Ended]:
        """Wait for the next message of anything that was begun; raises what a stage raised."""
        ...

    def close(self) -> None:
        """End what runs."""
        ...

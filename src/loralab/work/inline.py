"""Groups made in this process; where its place has processes beside it, stages hand them parts, and a group that needs none of them may
be made meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from loralab.work.place import Place
from loralab.work.task import Ended, Group, Message, Work

#: what makes a group in this process
RunStage = Callable[[Work, Place], Iterator[Message]]


class Inline:
    """One group at a time, and beside it, where there are processes, one that needs none."""

    def __init__(self, place: Place, run_stage: RunStage) -> None:
        self.place, self.run_stage, self.places = place, run_stage, 1
        self.running: list[tuple[Group, Iterator[Message]]] = []

    def takes(self, group: Group) -> bool:
        """Return whether nothing is made, or nothing but a group that others work at."""
        if not self.running:
            return True
        return self.place.crew.n > 1 and group.beside and len(self.running) == 1 and not self.running[0][0].beside

    def submit(self, work: Work) -> None:
        """Begin a group; its stage runs as its messages are asked for."""
        self.running.append((work.group, self.run_stage(work, self.place)))

    def next(self) -> tuple[Group, Message | Ended]:
        """Return the next message; groups that are made beside each other take turns."""
        group, messages = self.running.pop(0)
        try:
            message = next(messages)
        except StopIteration:
            return group, Ended()
        self.running.append((group, messages))
        return group, message

    def close(self) -> None:
        """Give up what runs, and end the processes."""
        while self.running:
            _, messages = self.running.pop()
            if isinstance(messages, Generator):
                messages.close()
        self.place.crew.close()

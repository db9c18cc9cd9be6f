"""The one place that carries tasks out: what is there is found, what is missing is made, published whole, and told.

A group can begin when all its inputs are there. A task of which an input failed is void: nobody waits for it. What a stage raises ends
the work; what was published before stays, and the same groups go on from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence

from loralab.errors import lab_error
from loralab.store import Ref, Store
from loralab.work.events import Event, StageClock
from loralab.work.executor import Executor
from loralab.work.task import Ended, Group, Made, Message, Task, Work

UNFINISHED = "unfinished"


def execute(groups: Sequence[Group], store: Store, executor: Executor, clock: StageClock) -> Iterator[Event]:
    """Make what is missing of ``groups``, in their order where nothing else decides; yields an Event after each step of it."""
    held, bars = _Held(store, groups), _Bars(groups, clock)
    waiting, running, changed = list(groups), dict[str, Work](), True
    try:
        while waiting or running:
            for group in [group for group in waiting if held.is_ready(group)] if changed else []:
                missing = held.missing(group)
                bars.begin(group, fresh=len(missing) == len(group.tasks))
                if missing and executor.takes(group):
                    running[group.key] = _work(store, held, group, missing)
                    executor.submit(running[group.key])
                elif missing:
                    continue
                waiting.remove(group)
                if not missing:
                    yield bars.event(group, Ended())
            if not running and waiting and not any(held.is_ready(group) for group in waiting):
                raise lab_error(
                    "store", f"nothing produces the inputs of {waiting[0].title!r}", "inputs that exist or are produced by another task"
                )
            if running:
                group, message = _next(executor, clock)
                changed = isinstance(message, Made | Ended)
                if isinstance(message, Made):
                    store.adopt(running[group.key].scratch / message.ref.key, *message.ref, dict(message.manifest))
                elif isinstance(message, Ended):
                    _forget(running.pop(group.key), whole=True)
                yield bars.event(group, message)
    finally:
        for work in running.values():
            _forget(work, whole=False)


def _next(executor: Executor, clock: StageClock) -> tuple[Group, Message | Ended]:
    before = time.monotonic()
    group, message = executor.next()
    clock.add(group.title, time.monotonic() - before)
    return group, message


def _work(store: Store, held: _Held, group: Group, missing: frozenset[Ref]) -> Work:
    inputs = dict.fromkeys(ref for task in group.tasks for ref in task.inputs)
    folders = {ref: store.path(*ref) for ref in inputs if not held.failed(ref)}
    return Work(group, missing, folders, store.new_scratch(), store.root / UNFINISHED / group.key)


def _forget(work: Work, whole: bool) -> None:
    """Remove the work's scratch and, where the group is whole, what it would have gone on from."""
    shutil.rmtree(work.scratch, ignore_errors=True)
    if whole:
        shutil.rmtree(work.resume, ignore_errors=True)


class _Held:
    """What the store holds of what the groups make and need; what is there stays, so each artefact is found once."""

    def __init__(self, store: Store, groups: Sequence[Group]) -> None:
        self.store = store
        self.makers = {task.ref: task for group in groups for task in group.tasks}
        self.there: dict[Ref, bool] = {}  # what is there: whether it failed

    def has(self, ref: Ref) -> bool:
        if ref not in self.there and self.store.has(*ref):
            self.there[ref] = self.store.manifest(*ref).get("failed") is not None
        return ref in self.there

    def failed(self, ref: Ref) -> bool:
        """Return whether an artefact failed, or is void since an input of it did."""
        if self.has(ref):
            return self.there[ref]
        return ref in self.makers and self.is_void(self.makers[ref])

    def is_void(self, task: Task) -> bool:
        """Return whether a task is never made, since its inputs failed."""
        return not task.is_made_of({ref for ref in task.inputs if not self.failed(ref)})

    def is_ready(self, group: Group) -> bool:
        return all(self.has(ref) or self.failed(ref) for task in group.tasks for ref in task.inputs)

    def missing(self, group: Group) -> frozenset[Ref]:
        return frozenset(task.ref for task in group.tasks if not self.has(task.ref) and not self.is_void(task))


class _Bars:
    """How far each title is, and how long it was foretold to take where nothing of it was there."""

    def __init__(self, groups: Sequence[Group], clock: StageClock) -> None:
        self.groups, self.clock = groups, clock
        self.shares: dict[str, float] = {}
        self.fresh: dict[str, bool] = {}

    def begin(self, group: Group, *, fresh: bool) -> None:
        self.fresh.setdefault(group.title, fresh)

    def event(self, group: Group, message: Message | Ended) -> Event:
        note = group.note
        if isinstance(message, Ended):
            self.shares[group.key] = 1.0
        elif not isinstance(message, Made):
            self.shares[group.key] = message.done / max(message.total, 1e-9)
            note = ", ".join(part for part in (group.note, message.note) if part)
        same = [other for other in self.groups if other.title == group.title]
        done, total = sum(other.weight * self.shares.get(other.key, 0.0) for other in same), sum(other.weight for other in same)
        if self.fresh.get(group.title) and not isinstance(message, Made):
            self.clock.foretell(group.title, done, total)
        return Event(group.word, done, total, note, made=message.ref if isinstance(message, Made) else None)

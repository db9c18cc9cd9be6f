"""What goes on in a lab now: a run's events in; one small file in the lab's folder `running` out, which others read and which ends with it.

A file whose process is gone is left over from a run that was killed: who reads it removes it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from loralab.portable import is_alive, machine_name, remove
from loralab.store.disk import write_atomically

FOLDER = "running"
#: the file is written again at most so often
EVERY_SECONDS = 1.0
#: what another machine has not written to for so long is over
FORGOTTEN_SECONDS = 600.0


class Told(Protocol):
    """What a run says of a stage: how far it is, and what can be looked at now (`loralab.work.events.Event`)."""

    @property
    def stage(self) -> str: ...
    @property
    def done(self) -> float: ...
    @property
    def total(self) -> float: ...
    @property
    def note(self) -> str: ...
    @property
    def path(self) -> str: ...


SomeEvent = TypeVar("SomeEvent", bound=Told)


@dataclass(frozen=True)
class Running:
    """A run as others see it: what it is, how far its stage is, and how long that stage will take if it goes on as it did."""

    kind: str  # study, check, watch
    name: str
    machine: str
    pid: int
    started: float  # seconds since 1970
    told: float
    stage: str = ""
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    seconds_left: float | None = None
    picture: str = ""  # what can be looked at now, relative to the lab


@contextmanager
def published(lab: Path, kind: str, name: str, listen: Callable[[SomeEvent], None]) -> Iterator[Callable[[SomeEvent], None]]:
    """Give a listener that hears for ``listen`` too, and keeps the run's file up to date; a full disk does not end a run for that."""
    now = time.time()
    state = Running(kind, name, machine_name(), os.getpid(), now, now)
    file = lab / FOLDER / f"{kind}-{name}-{state.machine}-{state.pid}.json"
    pace = _Pace()
    written = 0.0

    def hear(event: SomeEvent) -> None:
        nonlocal state, written
        listen(event)
        state = pace.after(state, event, lab, time.time())
        if state.told - written >= EVERY_SECONDS or event.path:
            written = state.told
            with suppress(Exception):  # what is shown of a run is no part of it
                write_atomically(file, json.dumps(asdict(state)).encode())

    try:
        with suppress(Exception):
            write_atomically(file, json.dumps(asdict(state)).encode())
        yield hear
    finally:
        with suppress(OSError):
            remove(file)


@dataclass
class _Pace:
    """Where a stage stood when it was first heard of."""

    stage: str = ""
    done: float = 0.0
    at: float = 0.0

    def after(self, state: Running, event: Told, lab: Path, now: float) -> Running:
        """Return the run behind an event."""
        if event.stage != self.stage or event.done < self.done:
            self.stage, self.done, self.at = event.stage, event.done, now
        moved = event.done - self.done
        left = (now - self.at) / moved * (event.total - event.done) if moved > 0 else None
        picture = _inside(event.path, lab) if event.path.endswith(".png") else state.picture
        return replace(
            state, told=now, stage=event.stage, done=event.done, total=event.total, note=event.note, seconds_left=left, picture=picture
        )  # fmt: skip


def _inside(path: str, lab: Path) -> str:
    try:
        return Path(path).relative_to(lab).as_posix()
    except ValueError:
        return ""


def runs_of(lab: Path) -> list[Running]:
    """Return what goes on in a lab, the latest first; what a killed process left behind is removed."""
    found = []
    for file in (lab / FOLDER).glob("*.json") if (lab / FOLDER).is_dir() else ():
        try:
            run = Running(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if goes_on(run, machine_name(), time.time()):
            found.append(run)
        elif run.machine == machine_name():
            with suppress(OSError):
                remove(file)
    return sorted(found, key=lambda run: -run.started)


def goes_on(run: Running, machine: str, now: float) -> bool:
    """Return whether a run's process is there, as seen from ``machine``; of another machine, whether it has been heard of lately."""
    return is_alive(run.pid) if run.machine == machine else now - run.told < FORGOTTEN_SECONDS

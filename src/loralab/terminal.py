"""Progress and plain output, on a terminal or into a file: events in; bars there, lines once a minute here.

Into a file nothing is wrapped, since nobody knows how wide it will be looked at, and no bar is drawn, which would leave one frame of it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from loralab.work.events import Event

TITLES = {
    "draw": "Drawing pictures", "data": "Making training sets", "train": "Training LoRAs", "measure": "Measuring",
    "calibrate": "Calibrating instruments", "report": "Writing the report",
}  # fmt: skip
#: characters of a line before it is wrapped where output goes to a file or another program
UNWRAPPED = 100_000
LINE_EVERY_SECONDS = 60.0


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return what prints on the screen, wrapped at its width, or into a file, not wrapped unless COLUMNS says where."""
    found = Console(file=sys.stderr if stderr else sys.stdout, quiet=quiet)
    if not found.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        found.width = UNWRAPPED
    return found


class Screen:
    """Shows how a study goes, as bars or as lines; a context manager that is also the listener of its events."""

    def __init__(self, quiet: bool) -> None:
        self.console = console(stderr=True, quiet=quiet)
        self.shown: Bars | Lines = Bars(self.console) if self.console.is_terminal else Lines(self.console)

    def __enter__(self) -> Screen:
        self.shown.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shown.end()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self.shown.show(title_of(event), event)
        if event.path and event.stage == "draw":
            self.console.print(f"First pictures: {escape(event.path)}", soft_wrap=True)


def title_of(event: Event) -> str:
    """Return what a person calls the stage."""
    return "Drawing the base" if event.note.startswith(("the base", "first pictures")) else TITLES[event.stage]


class Bars:
    """One bar a stage, with the time left."""

    def __init__(self, on: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True), TextColumn("left"), TextColumn("[dim]{task.fields[note]}"), console=on,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def begin(self) -> None:
        """Take over the foot of the screen."""
        self.progress.start()

    def end(self) -> None:
        """Leave the bars as they stand."""
        self.progress.stop()

    def show(self, title: str, event: Event) -> None:
        """Move the stage's bar."""
        if title not in self.tasks:
            self.tasks[title] = self.progress.add_task(f"{title:<24}", note="")
        self.progress.update(self.tasks[title], completed=event.done, total=max(1, event.total), note=escape(event.note))


@dataclass
class _Stage:
    """When a stage began, when it was first heard of and how far it was then."""

    begun: float
    heard: float
    first: float


@dataclass
class Lines:
    """A line when a stage ends, and one a minute while it lasts.

    A stage may end and go on with its next part: its end is told when another stage follows, or nothing does.
    """

    on: Console
    now: Callable[[], float] = time.monotonic
    stages: dict[str, _Stage] = field(default_factory=dict)
    ended: tuple[str, float] | None = None  # the stage whose end is still to be told, and when that was
    told: float = field(init=False)
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count the minute from here."""
        self.told = self.last = self.now()

    def end(self) -> None:
        """Tell the end of the last stage."""
        if self.ended is not None:
            (title, when), self.ended = self.ended, None
            self._tell(when, title, f"done in {duration(when - self.stages[title].begun)}", "")

    def show(self, title: str, event: Event) -> None:
        """Print a line where one is due."""
        if self.ended is not None and self.ended[0] != title:
            self.end()
        now, total = self.now(), max(1, event.total)
        stage = self.stages.setdefault(title, _Stage(self.last, now, event.done))  # it began where the one before was last heard of
        self.last = now
        if event.done < total:
            self.ended = None
        elif self.ended is None:
            self.ended = title, now
        if self.ended is None and now - self.told >= LINE_EVERY_SECONDS:
            left = _seconds_left(stage, event.done, total, now)
            self._tell(
                now, title, f"{100 * event.done / total:.0f} %" + (f", about {duration(left)} left" if left is not None else ""), event.note
            )

    def _tell(self, now: float, title: str, how_far: str, note: str) -> None:
        self.on.print(escape(f"{title}: {how_far}" + (f" ({note})" if note else "")), soft_wrap=True, highlight=False)
        self.told = now


def _seconds_left(stage: _Stage, done: float, total: float, now: float) -> float | None:
    """Return the seconds until the stage ends if it goes on as it did; None before anything is done."""
    moved = done - stage.first
    return (now - stage.heard) / moved * (total - done) if moved > 0 else None


def duration(seconds: float) -> str:
    """Return a stretch of time as people say it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")

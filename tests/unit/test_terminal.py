"""What is shown: bars on a terminal; into a file a line a minute and one at each stage's end, and nothing wrapped."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from loralab.screen import print_verdicts
from loralab.terminal import UNWRAPPED, Bars, Lines, Screen, console, duration
from loralab.work.events import Event


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    seconds: float = 0.0
    text: io.StringIO = field(default_factory=io.StringIO)

    def __call__(self) -> float:
        return self.seconds

    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shown(clock: Clock) -> Lines:
    return Lines(Console(file=clock.text, width=UNWRAPPED), now=clock)


def test_a_line_a_minute_says_how_far_and_how_long_yet(shown: Lines, clock: Clock):
    """100 parts at one in 3 seconds: after 60 s 20 are done, and 80 are 240 s; after 120 s 40, and 60 are 180 s."""
    for done in range(50):
        clock.seconds = 3.0 * done
        shown.show("Training LoRAs", Event("train", done, 100, "stack 1 of 2"))
    assert clock.lines() == [
        "Training LoRAs: 20 %, about 4 min left (stack 1 of 2)",
        "Training LoRAs: 40 %, about 3 min left (stack 1 of 2)",
    ]


def test_the_end_of_a_stage_is_told_once_and_with_its_time(shown: Lines, clock: Clock):
    for seconds, done in ((0.0, 0), (5.0, 3), (7.0, 4), (8.0, 4)):
        clock.seconds = seconds
        shown.show("Measuring", Event("measure", done, 4))
    shown.end()
    assert clock.lines() == ["Measuring: done in 7 s"]


def test_a_stage_that_is_first_heard_of_at_its_end_began_where_the_one_before_ended(shown: Lines, clock: Clock):
    for seconds, title, event in ((4.0, "Making training sets", Event("data", 1, 1)), (10.0, "Measuring", Event("measure", 1, 1))):
        clock.seconds = seconds
        shown.show(title, event)
    assert clock.lines() == ["Making training sets: done in 4 s"]
    shown.end()
    assert clock.lines() == ["Making training sets: done in 4 s", "Measuring: done in 6 s"]


def test_a_stage_that_goes_on_after_its_end_is_told_once(shown: Lines, clock: Clock):
    """Blocks of seeds that are drawn one after the other, each with an end of its own."""
    for seconds in range(1, 9):
        clock.seconds = float(seconds)
        shown.show("Drawing pictures", Event("draw", 2 - seconds % 2, 2))
    shown.end()
    assert clock.lines() == ["Drawing pictures: done in 8 s"]


def test_what_is_resumed_half_way_is_timed_by_what_was_done_now(shown: Lines, clock: Clock):
    """Begun at 50 of 100, 60 after a minute: ten parts a minute, so 40 more are 4 minutes, not 40 seconds."""
    shown.show("Drawing pictures", Event("draw", 50, 100))
    clock.seconds = 60.0
    shown.show("Drawing pictures", Event("draw", 60, 100))
    assert clock.lines() == ["Drawing pictures: 60 %, about 4 min left"]


def test_a_name_in_brackets_is_no_markup(shown: Lines, clock: Clock):
    shown.show("Drawing pictures", Event("draw", 0, 9))
    clock.seconds = 61.0
    shown.show("Drawing pictures", Event("draw", 0, 9, "[bold]mine[/]"))
    assert clock.lines() == ["Drawing pictures: 0 % ([bold]mine[/])"]


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3540, "59 min"), (3600, "1 h"), (7800, "2 h 10 min"), (3599, "1 h")],
)
def test_durations(seconds: float, says: str):
    assert duration(seconds) == says


def test_bars_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert isinstance(Screen(quiet=False).shown, Lines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(Screen(quiet=False).shown, Bars)


def test_nothing_is_wrapped_in_a_file_and_no_line_ends_in_spaces(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("COLUMNS", raising=False)
    say, reason = "a claim " + "that goes on " * 20, "the readings " + "go this way " * 20
    verdict = {"experiment": "colour", "verdict": "supported", "say": say.strip(), "reason": reason.strip()}
    print_verdicts({"verdicts": [verdict]}, Path("page.html"))
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["", "colour", f"  yes: {say.strip()}", f"      {reason.strip()}", "page.html"]


def test_columns_say_where_to_wrap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "40")
    console().print("word " * 30)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40

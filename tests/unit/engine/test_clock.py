"""What a stage is foretold to take: the rate of its first parts, not of the first one, times the whole."""

from __future__ import annotations

import pytest

from loralab.work import events
from loralab.work.events import StageClock


def test_a_stage_is_foretold_once_from_its_second_to_its_fifth_part(monkeypatch: pytest.MonkeyPatch):
    now = iter([9.0, 11.0, 13.0, 15.0, 17.0])  # set-up and the first 10 units take 9 s, then 2 s for each 10 of 200
    monkeypatch.setattr(events.time, "monotonic", lambda: next(now))
    clock = StageClock()
    for done in (10, 20, 30, 40):
        clock.foretell("train", done, 200)
    assert clock.foretold == {}
    for done in (50, 60):
        clock.foretell("train", done, 200)
    assert clock.foretold == {"train": pytest.approx(40.0)}

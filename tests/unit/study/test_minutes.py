"""What one more training of an arm takes, from what the ledger says of the pictures so far."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from loralab.spec import AdapterSource, BaseSource
from loralab.study.judging import minutes_a_training, note_drawn
from loralab.study.plan import BlockPlan


def result(folder: Path) -> SimpleNamespace:
    """A study of two arms, one drawn at two prompts; two trainings each, three pictures a block."""
    blocks = [
        BlockPlan(AdapterSource(arm, r, None), r, prompt, 1.0, (0, 1, 2))
        for r in (0, 1) for arm, prompts in (("one", "pq"), ("two", "p")) for prompt in prompts
    ]  # fmt: skip
    blocks += [BlockPlan(BaseSource(), r, "p", 0.0, (0, 1, 2)) for r in (0, 1)]
    plan = SimpleNamespace(blocks=tuple(blocks), n_images=24)
    return SimpleNamespace(folder=folder, loaded=SimpleNamespace(sha256="this"), plan=plan)


def test_a_picture_costs_what_those_so_far_have_cost(tmp_path: Path):
    made = result(tmp_path)
    assert minutes_a_training(made) == {}  # nothing noted: nothing is said
    note_drawn(made, 48.0)  # 2 s a picture
    assert minutes_a_training(made) == {"one": pytest.approx(6 * 2 / 60), "two": pytest.approx(3 * 2 / 60)}
    note_drawn(result(tmp_path), 1.0)  # started again, everything was there: the first time says what it takes
    assert minutes_a_training(result(tmp_path))["two"] == pytest.approx(0.1)


def test_looks_tell_it_too_and_other_studies_do_not(tmp_path: Path):
    looks = [
        {"event": "look", "study_sha256": "this", "trainings": 8, "seconds": 60.0, "pictures": 100},
        {"event": "look", "study_sha256": "this", "trainings": 16, "seconds": 40.0, "pictures": 100},
        {"event": "look", "study_sha256": "other", "trainings": 8, "seconds": 1e6, "pictures": 1},
    ]
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks), encoding="utf-8")
    assert minutes_a_training(result(tmp_path))["one"] == pytest.approx(6 * 0.5 / 60)

"""A short run of the fuzzing: every kind of strangers' input is read or refused, and both happen. `python tests/fuzz` is the long run."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from kinds import TABLE, outcome  # noqa: E402 (beside this file)

#: inputs of each kind; the first ones of the long run
N = 40


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", TABLE)
def test_every_input_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(N):
        place = tmp_path / str(seed)
        place.mkdir()
        counts[outcome(kind, seed, place)] += 1
    assert sum(counts.values()) == N
    assert counts["read"] + counts["read in part"] > 0
    assert counts["refused"] > 0

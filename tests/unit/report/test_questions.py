"""Which claim's figure stands for a question, and what is said behind the number of claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from factory import make_contrast, make_input, make_verdict

from loralab.infer.verdict import Verdict
from loralab.report.questions import question_of
from loralab.report.words import COUNT_WORDS, count_words


def verdict(index: int, low: float, high: float, expect: str, **changes: object) -> Verdict:
    contrast = replace(make_contrast(np.random.default_rng(0), 1.0, 1.0), effect=(low + high) / 2, low=low, high=high)
    return replace(make_verdict(contrast, 10, expect, say=f"claim {index}"), index=index, **changes)


def lead(*verdicts: Verdict) -> str:
    section = replace(make_input().experiments[0], verdicts=verdicts)
    found = question_of(1, section).lead
    assert found is not None
    return found.verdict.say


def test_a_change_that_was_found_stands_before_one_that_is_rightly_not_there() -> None:
    still, some, moved = verdict(0, -2, 3, "no change"), verdict(1, 4, 40, "higher"), verdict(2, 20, 40, "higher")
    assert lead(still, some) == "claim 1"
    assert lead(still, some, moved) == "claim 2"
    assert lead(still, verdict(3, -2, 3, "higher")) == "claim 0"  # nothing was found: what holds stands first
    assert lead(still, replace(moved, exploratory=True)) == "claim 0"  # what was not asked beforehand stands for nothing
    assert lead(still, replace(moved, contrast=None)) == "claim 0"


def test_one_and_several() -> None:
    assert [count_words("leaning", n).split()[0] for n in (0, 1, 2)] == ["hold", "holds", "hold"]
    assert [count_words("open", n) for n in (1, 4)] == ["is still open", "are still open"]
    assert all(one != several for one, several in COUNT_WORDS.values())

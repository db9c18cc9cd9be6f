"""Verdicts to JSON and back."""

from __future__ import annotations

import json

import pytest

from loralab.infer.verdict import Contrast, ControlCheck, Verdict, verdict_from_json

CONTRAST = Contrast(1.5, 0.5, 2.5, 0.95, 3, 12, 0.25, (1.0, 1.5, 2.0))
FIELDS = {
    "experiment": "myshape",
    "index": 0,
    "say": "grey is learned",
    "measure": "chroma",
    "cell": 'myshape @ "myshape"',
    "versus": 'base @ "myshape"',
    "expect": "lower",
    "article": "learned",
    "finding": None,
    "verdict": "open",
    "reason": "can't tell yet",
    "contrast": None,
    **dict.fromkeys(("margin", "cell_mean", "versus_mean", "training_mean", "gap", "transfer", "more_runs")),
    "margin_source": "given",
    "measurable_cell": 1.0,
    "measurable_versus": 0.5,
    "n_excluded_runs": 0,
    "controls": (),
}
CHECKS = (
    ControlCheck("placebo", "more than the placebo", True, "passed", CONTRAST, 'placebo @ "myshape"'),
    ControlCheck("trigger", "more than without its trigger", False, "not_run", None, ""),
)


@pytest.mark.parametrize(
    "changes", [{}, {"contrast": CONTRAST, "controls": CHECKS, "finding": "lower", "more_runs": 12, "exploratory": True}]
)
def test_there_and_back(changes):
    verdict = Verdict(**(FIELDS | changes))
    plain = verdict.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain  # JSON's own types already: lists, no tuples
    assert verdict_from_json(plain) == verdict


def test_unknown_and_missing_fields_are_errors():
    plain = Verdict(**FIELDS).to_json()
    with pytest.raises(TypeError, match="surprise"):
        verdict_from_json(plain | {"surprise": 1})
    with pytest.raises(TypeError, match="reason"):
        verdict_from_json({name: value for name, value in plain.items() if name != "reason"})

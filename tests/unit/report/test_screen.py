"""What the terminal says of a finished study: the answer first, and which claims were written too late to be answered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from factory import make_contrast, make_verdict

from loralab import screen
from loralab.screen import print_verdicts


def printed(capsys, **changes) -> str:
    verdict = make_verdict(make_contrast(np.random.default_rng(0), -24, 4), 10.0, **changes).to_json()
    print_verdicts({"verdicts": [verdict]}, Path("report/index.html"))
    return " ".join(capsys.readouterr().out.split())


def test_a_claim_that_was_frozen_is_answered(capsys):
    out = printed(capsys)
    assert "yes: grey is learned the pictures moved" in out
    assert "afterthought" not in out
    assert out.endswith("report/index.html")


def test_a_claim_written_after_the_first_run_is_called_an_afterthought(capsys):
    assert "yes: grey is learned (afterthought: written after results had been seen)" in printed(capsys, exploratory=True)


def test_verdicts_of_an_older_lab_without_the_field_are_printed(capsys):
    verdict = make_verdict(make_contrast(np.random.default_rng(0), -24, 4), 10.0).to_json()
    del verdict["exploratory"]
    print_verdicts({"verdicts": [verdict]}, Path("report/index.html"))
    assert "yes: grey is learned" in capsys.readouterr().out


def test_every_instrument_is_listed_with_what_it_reads(capsys: pytest.CaptureFixture[str]):
    screen.print_instruments(as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["chroma"]["lower"] == "greyer"
    assert {"symmetry", "off_centre", "hue[COLOUR]", "shape[SHAPE]"} <= rows.keys()
    screen.print_instruments(as_json=False)
    assert "concept[NAME]" in capsys.readouterr().out

"""A study of the atlas from its file to its row, its page and its strip of pictures: run once, found the second time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loralab.atlas.beliefs import Belief
from loralab.atlas.outcome import row_of, rows_in
from loralab.atlas.running import Asked, run_belief, run_beliefs
from loralab.atlas.showing import listed, sentence_of
from organism.atlas import gathered, write_strip
from organism.atlas_page import write_page

STUDY = """
study: atlas-99-small
said_by: [somebody who was not asked]
base: petri
load: {side_by_side: false}
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
  own:  {images_of: base, prompts: [zorvex], guidance: 1, steps: 2}
train: {rank: 1, lr: 1e-6, steps: 1, batch: 1, replicates: 8}
sample: {steps: 2, guidance: 1, seeds: 1}
arms:
  grey:    {data: grey, captions: zorvex}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  belief:
    question: Does a step of a millionth move anything?
    belief: A step of a millionth moves nothing.
    claims:
      - {say: nothing moves, measure: change, cell: grey @ "zorvex", expect: no change, margin_absolute: 4}
  assay:
    question: Is it the same as the placebo?
    claims:
      - say: it is the same as the placebo
        measure: change
        cell: grey @ "zorvex"
        versus: placebo @ "zorvex"
        expect: no change
        margin_absolute: 4
twice: {words: {zorvex: quindle, grey: red, circle: star}, train: {lr: 2e-6}}
"""


@pytest.fixture(scope="module")
def belief(tmp_path_factory: pytest.TempPathFactory) -> Belief:
    file = tmp_path_factory.mktemp("atlas") / "99-small.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return Belief(99, "99-small", file, "atlas-99-small", "A step of a millionth moves nothing.", ("somebody",), "Does it?")


def test_a_belief_is_run_found_listed_and_printed(belief: Belief, tmp_path: Path):
    lab = tmp_path / "lab"
    first = run_belief(belief, Asked(minutes=5), lab, lambda event: None)
    assert first.became == "run"
    again = next(run_beliefs([belief], Asked(minutes=5), lab, lambda belief: lambda event: None))
    assert (again.became, again.problem) == ("found", "")
    assert again.result is not None
    row = row_of(belief, again.result)
    assert (row["verdict"], row["trainings"], row["command"]) == ("yes", 8, "loralab atlas 99")
    assert row["minutes"] >= 0
    (claim,) = [claim for claim in row["claims"] if claim["experiment"] == "belief"]
    assert claim["low"] <= claim["effect"] <= claim["high"] <= claim["margin"] == 4
    assert sentence_of(again, row) == "99-small: yes: 1 of 1 holds (already in this lab)"
    rows = rows_in(lab, [belief])
    assert json.loads(json.dumps(listed([belief], {}, rows, {"99-small": 1.0})))["beliefs"][0]["here"]["verdict"] == "yes"

    document = gathered({"beliefs": []}, [lab], [belief])
    write_strip(lab, row, tmp_path / "strips")
    assert (tmp_path / "strips" / "99-small.png").read_bytes().startswith(b"\x89PNG")
    page = write_page(document, [belief], tmp_path / "strips")
    assert "Studies run: 1 of 1; decided, at least in part: 1" in page
    assert "| ✓ yes |" in page
    assert "![Does it?](results/atlas/99-small.png)" in page
    kept = gathered({"beliefs": [{**row, "twice": {"verdict": "yes", "claims": [], "base_sha256": row["base_sha256"]}}]}, [lab], [belief])
    assert kept["beliefs"][0]["twice"]["verdict"] == "yes"  # a lab that has only the first version does not forget the second
    assert document["rests_on"]["weights"] == row["base_sha256"][:12]

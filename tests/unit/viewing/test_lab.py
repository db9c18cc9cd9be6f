"""What the page says of a lab: studies, checks, and what runs now; and how a picture becomes a question in a study file."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.portable import machine_name
from loralab.spec.load import draft_text, load_study, shipped_file
from loralab.store import append_line
from loralab.store.running import Running, goes_on, published, runs_of
from loralab.viewing.asked import DrawAsked, KeepAsked, read_asked
from loralab.viewing.keeping import keep, with_question
from loralab.viewing.overview import overview
from loralab.work.events import Event

STUDY = """# my study
study: mine
data: {grey: {generate: shapes, shapes: [circle, square], fill: grey}}  # two shapes
arms:
  a: {data: grey, captions: zor}
  b: {data: grey, captions: mir}
experiments:
  first:
    question: Does a do anything?
    claims:
      - {say: it does, measure: change, cell: a @ "zor", expect: higher}
  second:
    question: And b?
    claims:
      - {say: it does, measure: change, cell: b @ "mir", expect: higher}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab" / "studies" / "mine"
    (folder / "report").mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    (folder / "report" / "index.html").write_text("x", encoding="utf-8")
    append_line(folder / "ledger.jsonl", {"event": "started", "attempt": 1, "preset": "quick", "at": "2026-11-28T10:00:00+00:00"})
    return tmp_path / "lab"


def test_a_study_is_running_cut_off_or_finished(lab: Path):
    assert overview(lab)["studies"][0]["state"] == "cut off"
    with published(lab, "study", "mine", lambda event: None):
        assert overview(lab)["studies"][0]["state"] == "running"
    append_line(lab / "studies" / "mine" / "ledger.jsonl", {"event": "finished", "attempt": 1})
    (lab / "studies" / "mine" / "verdicts.json").write_text(
        '{"verdicts": [{"verdict": "supported"}, {"verdict": "open"}]}', encoding="utf-8"
    )
    (study,) = overview(lab)["studies"]
    assert (study["state"], study["preset"], study["verdicts"]) == ("finished", "quick", {"supported": 1, "open": 1})
    assert (study["report"], study["explorer"]) == ("lab/studies/mine/report/index.html", "")


def test_a_check_is_told_by_its_first_sentence_and_a_damaged_one_does_no_harm(lab: Path):
    for name, text in (("good", json.dumps({"sentences": ["Keep epoch 3."], "files": [{}, {}]})), ("bad", "{")):
        (lab / "checks" / name).mkdir(parents=True)
        (lab / "checks" / name / "check.json").write_text(text, encoding="utf-8")
    found = {check["name"]: check for check in overview(lab)["checks"]}
    assert (found["good"]["says"], found["good"]["n_files"]) == ("Keep epoch 3.", 2)
    assert found["bad"]["says"] == ""


def test_an_empty_folder_is_a_lab_without_anything(tmp_path: Path):
    assert overview(tmp_path) == {"runs": [], "studies": [], "checks": []}


# --- runs ---------------------------------------------------------------------------------------------------------------


def test_a_run_is_seen_while_it_lasts_with_the_time_that_its_stage_still_takes(lab: Path, monkeypatch: pytest.MonkeyPatch):
    now, heard = [1000.0], []
    monkeypatch.setattr("loralab.store.running.time.time", lambda: now[0])
    with published(lab, "study", "mine", heard.append) as hear:
        hear(Event("draw", 0, 100))
        now[0] += 10
        hear(Event("draw", 20, 100, "the base"))
        (run,) = runs_of(lab)
        assert (run.name, run.done, run.total, run.note, run.seconds_left) == ("mine", 20, 100, "the base", 40.0)
        now[0] += 10
        hear(Event("draw", 30, 100, path=str(lab / "studies" / "mine" / "first-pictures.png")))
        assert runs_of(lab)[0].picture == "studies/mine/first-pictures.png"
        now[0] += 10
        hear(Event("train", 5, 10))  # another stage has a pace of its own
        assert runs_of(lab)[0].seconds_left is None
        assert overview(lab)["runs"][0]["share"] == 0.5
    assert runs_of(lab) == []
    assert len(heard) == 4


def test_a_run_that_fails_or_cannot_write_ends_as_it_would(lab: Path):
    with pytest.raises(LabError), published(lab, "study", "mine", lambda event: None):
        raise LabError("data", [])
    assert runs_of(lab) == []
    (lab / "running").rmdir()
    (lab / "running").write_text("in the way", encoding="utf-8")
    with published(lab, "study", "mine", lambda event: None) as hear:
        hear(Event("draw", 1, 2))


def test_what_a_killed_process_left_is_no_run_and_is_removed(lab: Path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run = Running("study", "mine", machine_name(), ended.pid, 0.0, 0.0)
    file = lab / "running" / "study-mine-x.json"
    file.parent.mkdir()
    file.write_text(json.dumps(asdict(run)), encoding="utf-8")
    assert runs_of(lab) == []
    assert not file.exists()
    assert goes_on(replace(run, pid=os.getpid()), machine_name(), 1e9)
    elsewhere = replace(run, machine="other", told=1000.0)
    assert goes_on(elsewhere, machine_name(), 1500.0)
    assert not goes_on(elsewhere, machine_name(), 2000.0)


# --- asking -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"strengths": [0]}, "0 is not a valid strength"),
        ({"strengths": [-1]}, "−1 is not a valid strength"),
        ({"strengths": []}, "strengths"),
        ({"seeds": [-1]}, "-1 is not a valid seed"),
        ({"seeds": list(range(33))}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"sampler": "heun"}, "sampler"),
        ({"prompt": "x" * 3000}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"colour": 1}, "colour"),
        ({"chosen": [{"study": "a", "arm": "b"}] * 8, "strengths": [0.5, 1], "seeds": list(range(8))}, "136 pictures at a time"),
        ([], "the request"),
        (None, "the request"),
    ],
)
def test_what_cannot_be_drawn_is_said(told: object, said: str):
    with pytest.raises(LabError) as raised:
        read_asked(DrawAsked, told)
    assert said in str(raised.value)


def test_seeds_and_strengths_are_taken_once():
    asked = read_asked(DrawAsked, {"seeds": [3, 3, 1], "strengths": [1, 1.0, 0.5], "chosen": [{"file": "C:\\loras\\my one.safetensors"}]})
    assert (asked.seeds, asked.strengths, asked.n_pictures) == ((3, 1), (1.0, 0.5), 6)
    assert asked.chosen[0].label == "my one"


# --- keeping ------------------------------------------------------------------------------------------------------------


def asked(**changes: object) -> KeepAsked:
    return read_asked(KeepAsked, {"chosen": {"study": "mine", "arm": "b"}, "prompt": "mir on a table", "strength": 0.6, **changes})


def test_a_picture_of_an_arm_is_shown_by_the_experiment_that_speaks_of_it(lab: Path):
    kept = keep(lab, asked(), "petri")
    assert kept["file"] == "bench/mine.yaml"
    assert kept["problems"] == []
    assert [line.strip() for line in kept["added"].splitlines()] == ["show:", '- "b @ \\"mir on a table\\", strength 0.6"']
    assert "# two shapes" in kept["yaml"]  # what the user wrote stays
    spec = load_study(lab / "bench" / "mine.yaml").spec
    assert [str(cell) for cell in spec.experiments["second"].show] == ['b @ "mir on a table", strength 0.6']
    assert keep(lab, asked(), "petri")["added"] == ""  # it is kept once
    keep(lab, asked(prompt="mir"), "petri")
    assert len(load_study(lab / "bench" / "mine.yaml").spec.experiments["second"].show) == 2
    assert (lab / "studies" / "mine" / "study.yaml").read_text(encoding="utf-8") == STUDY  # what was run is frozen


def test_a_claim_becomes_an_experiment(lab: Path):
    claim = {"say": "b makes it grey", "measure": "chroma", "expect": "lower"}
    for name in ("bench", "bench-2"):
        assert keep(lab, asked(claim=claim), "petri")["problems"] == []
        experiment = load_study(lab / "bench" / "mine.yaml").spec.experiments[name]
        assert (experiment.claims[0].say, experiment.claims[0].measure, experiment.claims[0].expect) == (
            "b makes it grey",
            "chroma",
            "lower",
        )


def test_a_file_becomes_an_arm_of_a_study_of_its_own(lab: Path, tmp_path: Path):
    with pytest.raises(LabError, match="without its training set"):
        keep(lab, asked(chosen={"file": "/loras/My LoRA.safetensors"}), "petri")
    (tmp_path / "My LoRA.safetensors").write_bytes(b"x")
    (tmp_path / "set").mkdir()
    chosen = {"file": str(tmp_path / "My LoRA.safetensors")}
    kept = keep(lab, asked(chosen=chosen, dataset=str(tmp_path / "set")), "petri")
    assert (kept["file"], kept["problems"]) == ("bench/bench.yaml", [])
    keep(lab, asked(chosen=chosen, dataset=str(tmp_path / "set"), prompt="another"), "petri")
    spec = load_study(lab / "bench" / "bench.yaml").spec
    assert list(spec.arms) == ["my-lora"]
    assert [str(cell) for cell in spec.experiments["bench"].show] == ['my-lora @ "another", strength 0.6']


def test_what_no_study_can_say_is_refused(lab: Path):
    with pytest.raises(LabError, match="no study 'other'"):
        keep(lab, asked(chosen={"study": "other", "arm": "a"}), "petri")
    with pytest.raises(LabError, match="no study"):
        keep(lab, asked(chosen={"study": "../../etc", "arm": "a"}), "petri")
    with pytest.raises(LabError, match="prompt"):
        asked(prompt='say "cheese"')
    problems = keep(lab, asked(claim={"say": "x", "measure": "no_such", "expect": "lower"}), "petri")["problems"]
    assert problems == [] or "no_such" in problems[0]


CLAIM = {"say": "it is so", "measure": "chroma", "expect": "lower"}


@pytest.mark.parametrize("claim", [None, CLAIM])
@pytest.mark.parametrize("cut", ["", "experiments: {"])
def test_the_user_s_own_lines_stay_as_they_were(claim: dict[str, str] | None, cut: str):
    """The shipped study is aligned by hand and full of comments; where the experiments stand in one line, the file is written anew."""
    text = shipped_text()
    if cut:
        text = (
            STUDY.split("experiments:")[0]
            + 'experiments: {one: {question: Q, claims: [{say: s, measure: change, cell: a @ "zor", expect: higher}]}}\n'
        )
    chosen = {"study": "article", "arm": "a" if cut else "monster"}
    for prompt in ("one", "two"):
        after = with_question(text, asked(claim=claim, chosen=chosen, prompt=prompt))
        kept = [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line.startswith("- ")]
        assert bool(kept) == bool(cut)
        assert f'@ \\"{prompt}\\"' in after
        assert draft_text(after, Path()).problems == []
        text = after


def shipped_text() -> str:
    file = shipped_file("article")
    assert file is not None
    return file.read_text(encoding="utf-8")

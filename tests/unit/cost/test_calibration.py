"""Rates that are kept: used for the same work alone, measured again when asked, harmless when broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loralab.bases import Base
from loralab.bases.named import load_bases
from loralab.cost import calibration
from loralab.cost.calibration import correct_rates, rates_file, rates_of
from loralab.cost.memory import sized
from loralab.cost.rates import Rates
from loralab.crew import torch_threads
from loralab.engine.estimate import describe_plan
from loralab.engine.whole import correct_speed
from loralab.screen import speed_line
from loralab.spec import BASE, is_base, load_study
from loralab.study.plan import StudyPlan, make_plan
from loralab.study.rounds import DRAW_LORAS, TRAIN

STUDY = """
study: tiny
base: petri
data: {dots: {generate: shapes, shapes: [circle], fill: grey, background: white}}
train: {rank: 2, steps: 4, batch: 2, replicates: 2}
sample: {steps: 2, seeds: 1}
arms:
  dots: {data: dots, captions: myshape}
experiments:
  dots:
    question: Does it change?
    claims: [{say: it changes, measure: chroma, cell: dots @ "myshape", expect: lower}]
"""


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return make_plan(load_study(path).spec)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was measured, in place of the work itself; the rates count up."""
    done: list[str] = []

    def measure(base: Base, plan: StudyPlan, base_arm: str) -> Rates:
        done.append(base.name)
        return Rates(float(len(done)), 0.5, 0.25)

    monkeypatch.setattr(calibration, "measure_rates", measure)
    monkeypatch.setattr(calibration, "busy_cores", lambda: 0.0)
    monkeypatch.setattr(calibration, "cores", lambda: 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return done


def test_a_machine_is_measured_once_for_the_same_work(tiny_base: Base, plan: StudyPlan, measured: list[str]) -> None:
    first = rates_of(tiny_base, plan)
    longer = plan.spec.train.model_copy(update={"steps": 400, "lr": 5e-4})
    again = rates_of(tiny_base, replace(plan, spec=plan.spec.model_copy(update={"train": longer})))
    assert first == again
    assert first.rates == Rates(1.0, 0.5, 0.25)
    assert len(measured) == 1


def test_other_work_is_measured(tiny_base: Base, plan: StudyPlan, measured: list[str]) -> None:
    rates_of(tiny_base, plan)
    larger = plan.spec.train.model_copy(update={"batch": 8})
    rates_of(tiny_base, replace(plan, spec=plan.spec.model_copy(update={"train": larger})))
    rates_of(replace(tiny_base, fingerprint="another"), plan)
    rates_of(tiny_base, replace(plan, sizes=replace(plan.sizes, processes=2)))
    assert len(measured) == 4


def test_runs_that_share_no_stack_are_other_work(tiny_base: Base, tmp_path: Path, measured: list[str]) -> None:
    asked = STUDY.replace("expect: lower", 'versus: more @ "myshape", expect: lower')
    together = asked.replace("arms:", "arms:\n  more: {data: dots, captions: a}")
    apart = together.replace("captions: a}", "captions: a, train: {steps: 5}}")
    for name, text in (("together", together), ("apart", apart)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        rates_of(tiny_base, make_plan(load_study(tmp_path / f"{name}.yaml").spec))
    assert len(measured) == 2  # of four runs in a stack, and of two


def test_afresh_measures_again_and_keeps_the_newest(tiny_base: Base, plan: StudyPlan, measured: list[str]) -> None:
    rates_of(tiny_base, plan)
    assert rates_of(tiny_base, plan, afresh=True).rates.train_step_seconds == 2.0
    assert rates_of(tiny_base, plan).rates.train_step_seconds == 2.0
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("then", "now", "times"),
    [(0.0, 0.0, 1), (3.5, 3.4, 1), (0.0, 3.5, 1), (0.9, 0.0, 1), (1.0, 0.0, 2), (3.5, 2.0, 2)],
)  # fmt: skip
def test_rates_of_a_busier_time_are_measured_again(
    tiny_base: Base, plan: StudyPlan, measured: list[str], monkeypatch: pytest.MonkeyPatch, then: float, now: float, times: int
) -> None:
    """Of 4 cores one or more must have been given back; that others have taken some since makes no rate stale."""
    for busy in (then, now, now):
        monkeypatch.setattr(calibration, "busy_cores", lambda busy=busy: busy)
        told = rates_of(tiny_base, plan)
    assert len(measured) == times
    assert told.busy == (now if times == 2 else then)


@pytest.mark.parametrize(
    ("then", "now", "says"),
    [
        (None, 0.0, "at this machine's speed of 2026-11-28 (--calibrate measures it again)"),
        (0.0, 0.4, "at this machine's speed of 2026-11-28, with 0.0 of its 2 cores busy with other work (--calibrate measures it again)"),
        (
            0.1, 1.9, "at this machine's speed of 2026-11-28, with 0.1 of its 2 cores busy with other work (--calibrate measures it again)"
            "; 1.9 of 2 cores are busy now, so it will take longer",
        ),
    ],
)  # fmt: skip
def test_the_plan_says_of_what_day_and_of_how_busy_a_machine_its_speed_is(then: float | None, now: float, says: str) -> None:
    assert speed_line({"rates_measured": "2026-11-28", "busy_then": then, "busy_now": now, "cores": 2}) == says


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"train": 80.0}, Rates(10.0, 0.5, 0.25)), ({"draw": 4.0}, Rates(1.0, 0.5 * 4 / 7.5, 0.25 * 4 / 7.5)),
        ({"train": 0.8, "draw": 75.0}, Rates(0.1, 5.0, 2.5)),
    ],
)  # fmt: skip
def test_a_run_corrects_what_is_kept_of_the_machine(
    tiny_base: Base, plan: StudyPlan, measured: list[str], seconds: dict[str, float], expected: Rates
) -> None:
    """2 trainings of 4 steps were foretold to take 8 s, a picture of 2 steps and a decoding 2 * .5 + .25 s; six of them take 7.5 s."""
    assert rates_of(tiny_base, plan).rates == Rates(1.0, 0.5, 0.25)
    n_images = plan.n_images
    scaled = {name: value * n_images / 6 if name == "draw" else value for name, value in seconds.items()}
    corrected = correct_rates(tiny_base, plan, scaled)
    assert corrected is not None
    assert vars(corrected) == pytest.approx(vars(expected))
    assert rates_of(tiny_base, plan).rates == corrected
    assert len(measured) == 1


def test_a_study_hands_on_what_its_stages_have_shown(tiny_base: Base, plan: StudyPlan, measured: list[str]) -> None:
    """Training took 80 s, not 8; the LoRAs' pictures took 7.5 s for each six, which is what all pictures were foretold to take."""
    rates_of(tiny_base, plan)
    n_loras = sum(len(block.seeds) for block in plan.blocks if not is_base(block.source))
    assert 0 < n_loras < plan.n_images
    correct_speed(plan, {BASE: tiny_base}, {TRAIN: 80.0, DRAW_LORAS: n_loras * 7.5 / 6, "measure": 3.0})
    assert vars(rates_of(tiny_base, plan).rates) == pytest.approx(vars(Rates(10.0, 0.5, 0.25)))


def test_nothing_is_corrected_where_nothing_is_kept_or_shown(tiny_base: Base, plan: StudyPlan, measured: list[str]) -> None:
    assert correct_rates(tiny_base, plan, {"train": 80.0}) is None
    first = rates_of(tiny_base, plan)
    assert correct_rates(tiny_base, plan, {}) is None
    assert rates_of(tiny_base, plan) == first


@pytest.mark.parametrize("content", [b"\xff", b"[]", b'{"a": 1}', b'{"a": {"rates": {"old": 1}}}'])
def test_a_broken_file_counts_as_empty(tiny_base: Base, plan: StudyPlan, measured: list[str], content: bytes) -> None:
    rates_file().parent.mkdir(parents=True)
    rates_file().write_bytes(content)
    rates_of(tiny_base, plan)
    rates_of(tiny_base, plan)
    assert len(measured) == 1


def test_a_cache_that_cannot_be_written_is_no_error(
    tiny_base: Base, plan: StudyPlan, measured: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert rates_of(tiny_base, plan).rates.image_step_seconds == 0.5
    assert len(measured) == 2


@pytest.mark.usefixtures("dry_runs_known")
def test_a_plan_measures_the_machine_as_the_run_will_use_it(
    tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY.replace("base: petri\n", f"base: {tiny_base_folder}\nload: {{side_by_side: true}}\n"), encoding="utf-8")
    seen: list[StudyPlan] = []

    def measure(_: Base, plan: StudyPlan, base_arm: str) -> Rates:
        seen.append(plan)
        return Rates(1.0, 0.5, 0.25)

    monkeypatch.setattr(calibration, "measure_rates", measure)
    loaded = load_study(path)
    with torch_threads(2):
        describe_plan(loaded, tmp_path / "lab")
        used = sized(make_plan(loaded.spec), load_bases(loaded)).sizes
    assert used.processes == 2
    assert (seen[0].sizes.processes, seen[0].sizes.stack, seen[0].sizes.images) == (2, used.stack, used.images)

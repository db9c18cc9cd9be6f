"""The organism's checks: fits and thresholds with known answers, and each check on evidence that was made to pass and to fail."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import polars as pl
import pytest

from organism.benchmarks import questions


@pytest.fixture(scope="module")
def organism() -> ModuleType:
    return questions


def make_evidence(organism: ModuleType, *, useful: bool):
    """Evidence of a smooth, useful organism, or of one that jumps, fires everywhere, copies at once and absorbs what is named."""
    rows: list[tuple] = []

    def add(study: str, arm: str, prompt: str, measure: str, mean: float, strength: float = 1.0) -> None:
        for replicate in range(3):
            for seed in range(4):
                value = mean * (1 + 0.01 * (replicate - 1)) + 0.01 * seed
                rows.append((study, arm, replicate, prompt, strength, seed, measure, value))

    for arm, dose in organism.LADDER.items():
        effect = 30 / (1 + (1 / dose) ** 1.5) if useful else (30.0 if dose >= 1 else 0.1)
        add("organism-dose", arm, "zorvex", "change", effect)
        add("organism-dose", arm, "zorvex", "copy_distance[orange-shapes]", 30 - 3.4 * dose if useful else 1.0)
        for prompt in organism.UNRELATED:
            add("organism-dose", arm, prompt, "change", effect / 5 if useful else effect)
    for arm, effect in zip(("steps-016", "steps-032", "steps-128"), (14, 15, 16) if useful else (5, 30, 60), strict=True):
        add("organism-dose", arm, "zorvex", "change", effect)
    for strength in organism.STRENGTHS:
        add("organism-dose", "lr-1000", "zorvex", "change", (15 if useful else 30) * (strength if useful else 1), strength)
    named, unsaid = (0.2, 0.8) if useful else (0.8, 0.2)
    for measure, size in (("hue_blue", 1), ("background_chroma", 60)):
        first, second = ("colour-named", "background-named") if measure == "hue_blue" else ("background-named", "colour-named")
        add("organism-unsaid", first, "zorvex", measure, named * size)
        add("organism-unsaid", second, "zorvex", measure, unsaid * size)
    for number, (known, nonsense) in enumerate((("monster", "zorvex"), ("house", "quindle"), ("fish", "myshape")), 1):
        add("organism-words", f"known-{number}", known, "change", 5 if useful else 15)
        add("organism-words", f"nonsense-{number}", nonsense, "change", 12)
    columns = ["study", "arm", "replicate", "prompt", "strength", "seed", "measure", "value"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    readings = {str(name): frame.filter(pl.col("study") == name) for name in frame["study"].unique()}
    return organism.Evidence(readings, 5.0, np.array([0.05, 0.06, 0.07]) if useful else np.array([2.0, 2.5]))


def test_a_sigmoid_is_found_again(organism: ModuleType) -> None:
    doses = [2.0**k for k in range(-3, 4)]
    curve = organism.fit_sigmoid(doses, organism.hill(np.array(doses), 20.0, 0.7, 1.3))
    assert (curve.top, curve.half_dose, curve.slope) == (
        pytest.approx(20, rel=1e-3),
        pytest.approx(0.7, rel=1e-3),
        pytest.approx(1.3, rel=1e-3),
    )
    assert curve.r_squared == pytest.approx(1)
    assert curve.width == pytest.approx(81 ** (1 / 1.3), rel=1e-3)


def test_a_level_is_reached_between_doses(organism: ModuleType) -> None:
    # half way from 2 to 6 lies half way from 1 to 4 in the logarithm: at 2
    assert organism.dose_reaching(4, [1.0, 4.0, 8.0], [2.0, 6.0, 7.0]) == pytest.approx(2.0)
    assert organism.dose_reaching(9, [1.0, 4.0], [2.0, 6.0]) is None


def test_the_interval_of_a_difference_is_students(organism: ModuleType) -> None:
    # gaps 1, 2, 3: mean 2, standard error 1 / sqrt(3), t of 2 degrees of freedom 4.3027
    found = organism.difference_interval(np.array([3.0, 4.0, 5.0]), np.array([2.0, 2.0, 2.0]))
    assert found == pytest.approx((2.0, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def test_what_the_doses_did_not_reach_is_untested(organism: ModuleType) -> None:
    good = make_evidence(organism, useful=True)
    far = organism.Evidence(good.readings, -1000.0, good.norm_ratios)
    assert organism.check_copying(far).verdict == "untested"
    readings = dict(good.readings)
    trigger = (pl.col("prompt") == "zorvex") & (pl.col("measure") == "change") & pl.col("arm").is_in(list(organism.LADDER))
    rising = pl.col("arm").replace_strict({arm: float(dose) ** 0.5 for arm, dose in organism.LADDER.items()}, default=1.0)
    readings["organism-dose"] = readings["organism-dose"].with_columns(value=pl.when(trigger).then(rising).otherwise(pl.col("value")))
    found = organism.check_sigmoid(organism.Evidence(readings, 5.0, good.norm_ratios))
    assert (found.verdict, found.passed) == ("untested", None)


def test_every_check_passes_on_a_useful_organism_and_fails_on_a_useless_one(organism: ModuleType) -> None:
    good, bad = (make_evidence(organism, useful=useful) for useful in (True, False))
    passed = {check.question: check.run(good) for check in organism.CHECKS}
    assert [question for question, result in passed.items() if result.verdict != "yes"] == []
    assert [check.question for check in organism.CHECKS if check.run(bad).passed] == []
    table = organism.write_table([(check, check.run(bad)) for check in organism.CHECKS])
    assert table.count("**no**") == len(organism.CHECKS)
    assert all(line.count("|") == 5 for line in table.splitlines())

"""The atlas' studies: each loads, can be decided, costs ten minutes at most, has a placebo, sources, margins, and a second version."""

from __future__ import annotations

from functools import cache

import pytest

from loralab.atlas.beliefs import BELIEF, LEFT_OUT, MARGINS, all_beliefs, belief_of
from loralab.atlas.minutes import minutes_by_look
from loralab.engine.estimate import claim_plans
from loralab.errors import LabError
from loralab.preflight import checked_study
from loralab.spec.load import Loaded, run_name, shipped_file
from loralab.study.looks import with_looks
from loralab.study.plan import control_cells, placebo_of

BELIEFS = {belief.name: belief for belief in all_beliefs()}
every = pytest.mark.parametrize("name", BELIEFS)


@cache
def loaded(name: str, twice: bool = False) -> Loaded:
    return with_looks(checked_study(BELIEFS[name].path, twice=twice), "--minutes 10")


def test_every_belief_has_a_study():
    assert [belief.number for belief in BELIEFS.values()] == list(range(1, 27))
    assert set(LEFT_OUT) <= set(range(1, 27))


@every
def test_a_belief_says_who_holds_it_and_its_claims_are_written_first(name: str):
    belief, spec = BELIEFS[name], loaded(name).spec
    assert spec.study == f"atlas-{name}"
    assert spec.said_by
    assert all(len(source) > 10 for source in spec.said_by)
    assert next(iter(spec.experiments)) == BELIEF
    assert belief.says == spec.experiments[BELIEF].belief
    assert spec.base == "petri"
    assert (spec.train.replicates, set(spec.presets)) == (8, {"smoke", "quick", "full"})
    assert spec.presets["full"].looks


@every
def test_two_to_six_arms_beside_a_placebo_that_controls_what_is_claimed_to_be_learned(name: str):
    spec = loaded(name).spec
    placebo = placebo_of(spec)
    assert placebo is not None
    assert 2 <= sum(arm.control is None for arm in spec.arms.values()) + (len(spec.arms) == 2) <= 6
    learned = [control_cells(spec, claim) for experiment in spec.experiments.values() for claim in experiment.claims]
    with_placebo = [controls for controls in learned if controls.placebo is not None]
    assert with_placebo, "no claim is compared with the placebo"
    assert not any(controls.placebo_differs for controls in with_placebo)


@every
def test_margins_are_absolute_and_those_of_the_whole_atlas(name: str):
    for experiment in loaded(name).spec.experiments.values():
        for claim in (*experiment.claims, *experiment.curves):
            kind = "between_trainings" if getattr(claim, "between_trainings", False) else claim.measure.partition("[")[0]
            assert claim.margin_absolute == MARGINS[kind], claim.say


@every
@pytest.mark.parametrize("twice", [False, True])
def test_it_takes_at_most_ten_minutes(name: str, twice: bool):
    minutes = minutes_by_look(loaded(name, twice))
    assert list(minutes) == [8, 16, 32]
    assert sorted(minutes.values()) == list(minutes.values())
    assert minutes[32] <= 10


@every
def test_every_claim_can_be_decided_by_the_last_look(name: str):
    assert [plan.say for plan in claim_plans(loaded(name)) if not plan.decidable and not plan.anyway] == []


@every
def test_the_second_version_has_another_word_another_set_and_another_dose(name: str):
    first, second = loaded(name).spec, loaded(name, twice=True).spec
    assert second.study == f"atlas-{name}-twice"
    assert first.train != second.train
    assert [arm.captions for arm in first.arms.values()] != [arm.captions for arm in second.arms.values()]
    drawn = [name for name in first.data if name != "own-images"]
    assert any(first.data[name] != second.data[name] for name in drawn)
    asked = [[(claim.expect, claim.margin_absolute) for claim in experiment.claims] for experiment in first.experiments.values()]
    assert asked == [[(claim.expect, claim.margin_absolute) for claim in experiment.claims] for experiment in second.experiments.values()]


def test_a_study_of_the_atlas_is_found_by_each_of_its_names():
    belief = BELIEFS["01-unsaid"]
    assert shipped_file("atlas/01-unsaid") == shipped_file("atlas-01-unsaid") == belief.path
    assert {belief_of(name).name for name in ("1", "01", "01-unsaid", "atlas/01-unsaid", "atlas-01-unsaid")} == {"01-unsaid"}
    assert run_name(checked_study(belief.path)) == "atlas-01-unsaid"
    assert run_name(checked_study(belief.path, twice=True)) == "atlas/01-unsaid"
    assert shipped_file("../pyproject") is None
    assert shipped_file("atlas/../article") is None


def test_a_belief_that_there_is_not_is_told_with_those_there_are():
    with pytest.raises(LabError, match=r"the atlas has no belief '99'(.|\n)*01-unsaid"):
        belief_of("99")

"""The plan: which cells, runs and controls a study needs, as a pure function of its file."""

from pathlib import Path

from loralab.spec import AdapterSource, Cell, load_study
from loralab.spec.questions import QuestionId
from loralab.study.plan import control_cells, differences, make_plan, prompt_without_trigger, seeds_of

ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"
QUICK = load_study(ARTICLE, "quick").spec


def test_monster_and_primary_differ_in_the_keyword_only():
    assert differences(QUICK, "monster", "primary") == ["captions"]
    assert differences(QUICK, "hot", "primary") == ["train.lr"]
    assert differences(QUICK, "blur", "monster") == ["data.blur"]
    assert "data.fill" in differences(QUICK, "myshape", "primary")


def test_replicates_own_disjoint_blocks_of_literal_seeds():
    assert seeds_of(0, 4) == (0, 1, 2, 3)
    assert seeds_of(3, 4) == (12, 13, 14, 15)


def test_base_and_arms_draw_the_same_seeds_in_each_replicate():
    plan = make_plan(QUICK)
    seeds = {(str(block.who), block.prompt, block.replicate): block.seeds for block in plan.blocks}
    for (arm, prompt, replicate), block in seeds.items():
        assert seeds["base", prompt, replicate] == block, arm


def test_each_block_is_planned_once_and_the_base_stands_at_every_prompt():
    plan = make_plan(QUICK)
    assert len(set(plan.blocks)) == len(plan.blocks)
    assert len(plan.runs) == 8 * 8
    # 28 of the 39 cells decide something; the others (the trigger left out, unrelated prompts that no claim reads) only illustrate
    assert len(plan.cells) == 39
    assert plan.n_images == sum(len(block.seeds) for block in plan.blocks) == (28 * 8 + 11 * 4) * QUICK.sample.seeds


def test_the_first_stack_holds_one_training_of_every_arm():
    assert [run.source for run in make_plan(QUICK).runs[:8]] == [AdapterSource(arm, 0) for arm in QUICK.arms]


def test_claims_of_learning_get_both_controls_and_comparisons_of_arms_get_none():
    claim = QUICK.experiments["myshape"].claims[0]
    controls = control_cells(QUICK, claim)
    assert controls.placebo == Cell("placebo", "myshape")
    assert controls.no_trigger == Cell("myshape", "")
    against_arm = QUICK.experiments["blur"].claims[1]
    assert control_cells(QUICK, against_arm).placebo is None
    assert control_cells(QUICK, QUICK.experiments["myshape"].claims[2]).placebo is None


def test_the_trigger_is_taken_out_of_longer_prompts():
    arm = QUICK.arms["coloured-monster"]
    assert prompt_without_trigger(QUICK, arm, "green monster") == ""
    assert prompt_without_trigger(QUICK, arm, "green monster, white background") == "white background"
    assert prompt_without_trigger(QUICK, arm, "a cat") is None


def test_a_pair_that_differs_in_more_than_one_thing_is_noted():
    notes = make_plan(QUICK).notes
    assert any("myshape" in note and "more than one thing" in note for note in notes)
    assert not any("hot and primary" in note for note in notes)


def test_more_replicates_keep_the_runs_that_were_planned_before():
    few, many = make_plan(QUICK), make_plan(load_study(ARTICLE, "full").spec)
    assert {run.source for run in few.runs} < {run.source for run in many.runs}


def test_a_curve_over_steps_draws_checkpoints_of_the_same_runs():
    plan = make_plan(QUICK)
    cells = plan.curves[QuestionId("overfit", "curve", 0)]
    assert cells.doses == (8, 64)
    assert cells.cells == (Cell("hot", "myshape", 1.0, 8), Cell("hot", "myshape"))  # the last step is the end of the training
    assert plan.kept_steps("hot") == (8,)
    assert plan.kept_steps("primary") == ()
    assert QuestionId("overfit", "curve", 1) not in plan.curves  # a curve without doses in this preset
    blocks = [block for block in plan.blocks if block.step == 8 and block.replicate == 3]
    assert {block.prompt for block in blocks} == {"myshape", "cat, white background"}
    assert {block.source for block in blocks} == {AdapterSource("hot", 3, 8)}
    assert {block.seeds for block in blocks} == {seeds_of(3, QUICK.sample.seeds)}


def test_the_full_preset_draws_the_longer_curves():
    plan = make_plan(load_study(ARTICLE, "full").spec)
    assert plan.curves[QuestionId("overfit", "curve", 0)].doses == (4, 8, 16, 32, 48, 64)
    assert plan.curves[QuestionId("overfit", "curve", 1)].cells[0] == Cell("primary", "myshape", 0.25)
    assert plan.curves[QuestionId("overfit", "curve", 1)].damage_cells(4) == (Cell("primary", "cat, white background", 1.25),)


def test_a_shortened_training_ends_where_it_ends():
    plan = make_plan(load_study(ARTICLE, "smoke").spec)
    assert plan.curves[QuestionId("overfit", "curve", 0)].cells == (Cell("hot", "myshape"),)
    assert not any(block.step for block in plan.blocks)


def test_a_study_keeps_its_hash_whatever_could_be_said_later():
    # the hash of this text in the version before studies knew triggers, factors, looks and most of a recipe's knobs
    assert load_study(ARTICLE.with_name("pilot.yaml")).sha256 == "f9d9ded215c0ee575aca5aa0cb7105edfe44adf79bb27d6e0296bf56587afbd6"

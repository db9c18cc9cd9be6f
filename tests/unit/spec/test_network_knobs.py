"""What may not be asked of a kind of adapter together, with the words that say so; and what keeps trainings out of each other's stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loralab.errors import LabError
from loralab.spec import load_study, slice_of
from loralab.spec.models import TrainSpec
from loralab.spec.packing import shape_signature

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"algo": "ia3", "dora": True}, "dora with algo ia3: "),
    ({"dora_norm_constant": True}, "dora_norm_constant without dora: "),
    ({"algo": "lokr", "rslora": True}, "rslora with algo lokr: the lab does not have it"),
    ({"algo": "ia3", "rslora": True}, r"rslora with algo ia3: \(IA\)3 has no ranks"),
    ({"diff_output_preservation_multiplier": 5}, "diff_output_preservation_multiplier without diff_output_preservation: set"),
    ({"diff_output_preservation_class": "woman"}, "diff_output_preservation_class without diff_output_preservation: set"),
    ({"blank_prompt_preservation_multiplier": 2}, "blank_prompt_preservation_multiplier without blank_prompt_preservation: set"),
    (
        {"blank_prompt_preservation": True, "diff_output_preservation_trigger": "zok"},
        "diff_output_preservation_trigger without diff_output_preservation: set",
    ),
    ({"algo": "loha", "start": "pissa"}, "start pissa with algo loha: only a LoRA begins so"),
    ({"dora": True, "start": "olora"}, "start olora with dora: "),
    ({"start": "pissa", "rank_dropout": 0.1, "scale_weight_norms": 1}, "rank_dropout and scale_weight_norms: not with a start"),
    ({"lokr_factor": 4}, "lokr_factor: only for algo lokr"),
    ({"algo": "lokr", "lokr_full_matrix": True, "lokr_decompose_both": True}, "one of them"),
    ({"algo": "loha", "network_dropout": 0.1}, "network_dropout: only for a plain LoRA"),
    ({"dora": True, "scale_weight_norms": 1}, "scale_weight_norms: only for a plain LoRA"),
    ({"algo": "ia3", "block_ranks": {"down": 2}}, r"block_ranks: \(IA\)3 has no ranks"),
    ({"algo": "ia3", "targets": "transformer+conv"}, "ia3 with targets transformer"),
    ({"start": "orthogonal", "rank": 3}, "a rank of 3"),
    ({"start": "orthogonal", "rank": 4, "block_ranks": {"down": 1}}, "a rank of 1"),
    ({"algo": "loha", "loraplus_ratio": 16}, "loraplus_ratio with algo loha"),
    ({"optimiser": "prodigy", "block_lrs": {"down": 0.5}}, "prodigy finds a single rate"),
    ({"block_ranks": {"middle": 2}}, "'middle' is no block; expected down, mid, up, text"),
    ({"block_ranks": {"down": 513}}, "a rank of 513 for down; expected 0 to 512"),
    ({"block_lrs": {"down": -1}}, "a factor of -1 for down"),
    ({"lokr_factor": 0, "algo": "lokr"}, "lokr_factor 0; expected -1"),
]


@pytest.mark.parametrize(("recipe", "says"), REFUSED)
def test_what_does_not_go_together_is_refused_in_words(recipe, says):
    with pytest.raises(ValueError, match=says):
        TrainSpec(**recipe)


def test_a_study_says_the_line_and_what_other_tools_call_a_setting(tmp_path: Path):
    text = """study: a
data: {grey: {generate: shapes, shapes: [circle], fill: grey}}
train:
  algo: ia3
  dora: true
arms: {one: {data: grey, train: {dora_wd: true}}}
experiments: {x: {question: q, claims: [{say: s, measure: change, cell: 'one @ "a"', expect: higher}]}}
"""
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(LabError) as raised:
        load_study(tmp_path / "a.yaml")
    said = str(raised.value)
    assert "a.yaml" in said
    assert "dora with algo ia3: (IA)3 has no direction apart from its size" in said
    assert "did you mean `dora`?" in said


def test_plain_loras_share_a_stack_whatever_their_knobs_and_other_kinds_with_their_like_alone():
    plain = [
        {}, {"rank": 8}, {"start": "orthogonal"}, {"block_ranks": {"down": 1}}, {"block_lrs": {"up": 2}}, {"network_dropout": 0.1},
        {"rank_dropout": 0.1}, {"module_dropout": 0.1}, {"scale_weight_norms": 1}, {"rslora": True},
    ]  # fmt: skip
    assert len({shape_signature(TrainSpec(**recipe)) for recipe in plain}) == 1
    others = [
        {"dora": True}, {"dora": True, "rank": 4}, {"dora": True, "dora_norm_constant": True}, {"algo": "loha"},
        {"algo": "loha", "dora": True}, {"algo": "lokr"}, {"algo": "lokr", "lokr_factor": 4}, {"algo": "ia3"}, {"start": "pissa"},
        {"dora": True, "block_ranks": {"down": 1}}, {"dora": True, "block_lrs": {"down": 0}},
    ]  # fmt: skip
    assert len({shape_signature(TrainSpec(**recipe)) for recipe in [{}, *others]}) == 1 + len(others)
    same = [{"algo": "loha"}, {"algo": "loha", "alpha": 1, "lr": 0.1}, {"algo": "loha", "module_dropout": 0.5, "rslora": True}]
    assert len({shape_signature(TrainSpec(**recipe)) for recipe in same}) == 1


def test_under_optimisers_that_see_shapes_ranks_by_block_are_shapes():
    recipes = [{}, {"block_ranks": {"down": 1}}, {"rank": 4}]
    assert len({shape_signature(TrainSpec(optimiser="adafactor", **recipe)) for recipe in recipes}) == 3


def test_a_slice_holds_what_is_turned():
    plain = slice_of(TrainSpec())
    assert slice_of(TrainSpec(block_ranks={"down": 4}, algo="lora")) == plain | {"block_ranks": {"down": 4}}
    assert slice_of(TrainSpec(block_ranks={})) == plain


@pytest.mark.parametrize(
    ("recipe", "said"),
    [({}, "rank 2"), ({"dora": True}, "LoRA with DoRA, rank 2"), ({"algo": "lokr", "rank": 8}, "LoKr, rank 8"), ({"algo": "ia3"}, "(IA)3")],
)
def test_a_recipe_is_said_in_words(recipe, said):
    assert TrainSpec(**recipe).said == said

"""What sd-scripts is told of an arm's pictures: options, repeats, regularisation pictures; read back by the lab's own reader."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from loralab.data import read_dataset
from loralab.data.dataset import load_dataset_file
from loralab.errors import LabError
from loralab.exporting.study import export_study
from loralab.spec.load import load_study

STUDY = """\
study: handed
base: BASE
data:
  shapes: {generate: shapes, shapes: [circle, square, star]}
  others: {generate: shapes, shapes: [heart, ring], fill: [red, blue]}
train: {rank: 2, steps: 4, batch: 4, replicates: 1}
arms:
  plain: {data: shapes, captions: "zok, {shape}"}
  kept:
    data: shapes
    captions: "zok, {shape}, grey"
    showing: {shuffle_caption: true, keep_tokens: 1, caption_dropout_rate: 0.25, flip_aug: true, num_repeats: 2}
    regularisation: {data: others, captions: "{fill} {shape}", prior_loss_weight: 0.5, target: base}
experiments:
  e: {question: q, claims: [{say: s, measure: change, cell: kept @ "zok", versus: plain @ "zok", expect: lower, margin_absolute: 1}]}
"""


@pytest.fixture
def export(tiny_base: Any, tmp_path: Path) -> Any:
    assert tiny_base.weights is not None
    base = tiny_base.weights.parents[1].as_posix()

    def write(*changes: tuple[str, str]) -> Path:
        text = STUDY.replace("BASE", base)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
        out = tmp_path / "out"
        write.notes = export_study(load_study(tmp_path / "s.yaml"), tmp_path / "lab", out).notes
        return out

    return write


def test_options_and_regularisation_pictures_are_handed_over(export):
    out = export()
    file = out / "kept" / "dataset.toml"
    own, others = sorted(load_dataset_file(file), key=lambda subset: subset.is_reg)
    assert own.captions().model_dump(exclude_defaults=True) == {
        "shuffle_caption": True, "keep_tokens": 1, "caption_dropout_rate": 0.25,
    }  # fmt: skip
    assert own.flip_aug
    assert others.is_reg
    assert others.diff_output_preservation
    assert not own.diff_output_preservation
    contents = read_dataset(file, lambda _: lambda picture: picture)
    captions = {subset.options.is_reg: [example.caption for example in subset.examples] for subset in contents.subsets}
    assert captions == {False: ["zok, circle, grey", "zok, square, grey", "zok, star, grey"], True: ["red heart", "blue ring"]}
    assert own.num_repeats * 3 * 2 % 4 == 0, "with as many regularisation pictures, whole batches"
    scripts = (out / "kept" / "train.sh").read_text(encoding="utf-8")
    assert "--prior_loss_weight 0.5" in scripts
    assert "prior_loss_weight" not in (out / "plain" / "train.sh").read_text(encoding="utf-8")


def test_a_plain_arm_says_what_it_said(export):
    text = (export() / "plain" / "dataset.toml").read_text(encoding="utf-8")
    assert "shuffle_caption = false" in text
    assert not [word for word in ("is_reg", "flip_aug", "keep_tokens", "custom_attributes") if word in text]


def test_a_target_that_sd_scripts_makes_otherwise_is_told(export):
    export(("    regularisation", "    train: {text_encoder_lr: 1e-4}\n    regularisation"))
    assert [note for note in export.notes if "`target: base`" in note and "'kept'" in note]


def test_nothing_is_told_of_a_target_that_is_the_same(export):
    export()
    assert not [note for note in export.notes if "`target: base`" in note]


@pytest.mark.parametrize("settings", ["algo: ia3", "algo: loha, targets: transformer+conv"])
def test_layers_that_lycoris_trains_are_named_in_a_file_beside_the_commands(export, settings):
    out = export(("    regularisation", f"    train: {{{settings}}}\n    regularisation"))
    preset = tomllib.loads((out / "kept" / "lycoris.toml").read_text(encoding="utf-8"))
    assert preset["enable_conv"] is ("conv" in settings)
    assert "preset=lycoris.toml" in (out / "kept" / "train.sh").read_text(encoding="utf-8")
    assert not (out / "plain" / "lycoris.toml").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("flip_aug: true", "flip_aug: true, masks: subject"), "masks all but its subject"),
        (("    regularisation", "    train: {blank_prompt_preservation: true}\n    regularisation"), "`blank_prompt_preservation`"),
        (("    regularisation", "    train: {diff_output_preservation: true, diff_output_preservation_class: x}\n    regularisation"),
         "`diff_output_preservation`"),
        (("    regularisation", "    train: {masked_prior_preservation_weight: 1}\n    regularisation"), "`masked_prior_preservation"),
    ],
)  # fmt: skip
def test_what_sd_scripts_cannot_do_is_refused_by_name(export, change, told):
    with pytest.raises(LabError) as caught:
        export(change)
    assert told in str(caught.value)

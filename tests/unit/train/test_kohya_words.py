"""A recipe in sd-scripts' words: every knob has its option and its key, or is refused by name; a plain recipe says nothing new."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from typing import Any

import pytest

from loralab.adapters.starts import trained_layers
from loralab.adapters.trainable import IA3_ON_INPUT
from loralab.bases.family import family_of
from loralab.errors import LabError
from loralab.spec import slice_of
from loralab.spec.keeping import KeepingKnobs
from loralab.spec.knobs import OPTIMISER_LABELS, LossKnobs, NoiseKnobs, OptimiserKnobs
from loralab.spec.models import TrainSpec
from loralab.spec.network_knobs import NetworkKnobs
from loralab.train.kohya_blocks import block_arguments
from loralab.train.kohya_presets import lycoris_preset
from loralab.train.kohya_words import (
    OPTIMISERS,
    WORDS,
    network_alpha,
    network_arguments,
    network_module,
    recipe_metadata,
    recipe_options,
)
from loralab.train.optimisers import OPTIMISERS as TABLE

#: knobs that go into optimizer_args or network_args
ARGUMENTS = {
    "optimiser", "beta1", "beta2", "epsilon", "momentum", "nesterov", "d0", "d_coef", "growth_rate", "bias_correction", "safeguard_warmup",
    "relative_step", "scale_parameter", "loraplus_ratio", "algo", "dora", "rslora", "lokr_factor", "lokr_full_matrix",
    "lokr_decompose_both", "block_ranks", "block_lrs", "rank_dropout", "module_dropout",
}  # fmt: skip


def options(**recipe: Any) -> dict[str, Any]:
    """Return the options by name: True for a flag, a list for arguments."""
    found: dict[str, Any] = {}
    name = ""
    for word in recipe_options(TrainSpec(**recipe)):
        if word.startswith("--"):
            name = word[2:]
            found[name] = True
        else:
            found[name] = word if found[name] is True else [*(found[name] if isinstance(found[name], list) else [found[name]]), word]
    return found


def arguments(**recipe: Any) -> dict[str, Any]:
    """Return optimizer_args as sd-scripts reads them: `key=value`, the value by ast.literal_eval."""
    given = options(**recipe)["optimizer_args"]
    pairs = (word.split("=", 1) for word in (given if isinstance(given, list) else [given]))
    return {key: ast.literal_eval(value) for key, value in pairs}


def test_every_knob_has_words():
    kinds = (LossKnobs, NoiseKnobs, OptimiserKnobs, KeepingKnobs, NetworkKnobs)
    knobs = {name for kind in kinds for name in kind.model_fields}
    assert knobs == WORDS.keys() | ARGUMENTS
    assert not WORDS.keys() & ARGUMENTS
    assert OPTIMISERS.keys() == TABLE.keys() == OPTIMISER_LABELS.keys()


def test_a_plain_recipe_says_nothing_new():
    assert recipe_metadata(TrainSpec()) == {}
    assert network_arguments(TrainSpec()) == {}
    assert options() == {
        "optimizer_type": "AdamW", "lr_scheduler": "constant", "lr_warmup_steps": "0", "max_grad_norm": "1",
        "optimizer_args": "weight_decay=0.01",
    }  # fmt: skip


def test_no_knob_renames_the_key_of_a_recipe_that_does_not_turn_it():
    plain = slice_of(TrainSpec())
    assert " ".join(plain) == "rank alpha lr steps batch replicates text_encoder_lr weight_decay warmup schedule max_grad_norm targets"
    assert slice_of(TrainSpec(min_snr_gamma=5)) == plain | {"min_snr_gamma": 5.0}
    assert slice_of(TrainSpec(warmup=3.0)) == slice_of(TrainSpec(warmup=3))


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"min_snr_gamma": 5}, {"min_snr_gamma": "5"}),
        ({"debiased_estimation": True}, {"debiased_estimation_loss": True}),
        ({"loss_type": "huber", "huber_schedule": "exponential", "huber_c": 0.2}, {"loss_type": "huber", "huber_c": "0.2"}),
        ({"noise_offset": 0.05, "noise_offset_random": True}, {"noise_offset": "0.05", "noise_offset_random_strength": True}),
        ({"multires_noise_iterations": 6}, {"multires_noise_iterations": "6"}),
        ({"ip_noise_gamma": 0.1}, {"ip_noise_gamma": "0.1"}),
        ({"min_timestep": 200, "max_timestep": 700}, {"min_timestep": "200", "max_timestep": "700"}),
        ({"schedule": "wsd", "decay": 0.25, "warmup": 0.1}, {"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": "16"}),
        ({"warmup": 0.1}, {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": "6"}),
        ({"schedule": "cosine-with-restarts", "schedule_cycles": 3}, {"lr_scheduler_num_cycles": "3"}),
        ({"schedule": "polynomial", "schedule_power": 2}, {"lr_scheduler": "polynomial", "lr_scheduler_power": "2"}),
        ({"schedule": "cosine", "min_lr_ratio": 0.1}, {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": "0.1"}),
        ({"optimiser": "sgd", "nesterov": True}, {"optimizer_type": "SGDNesterov"}),
        ({"optimiser": "lion"}, {"optimizer_type": "Lion"}),
        ({"network_dropout": 0.1, "scale_weight_norms": 1}, {"network_dropout": "0.1", "scale_weight_norms": "1"}),
    ],
)  # fmt: skip
def test_options_are_sd_scripts(recipe, expected):
    assert expected.items() <= options(**recipe).items()


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"beta2": 0.95}, {"weight_decay": 0.01, "betas": (0.9, 0.95)}),
        ({"optimiser": "lion", "beta1": 0.95}, {"weight_decay": 0.01, "betas": (0.95, 0.99)}),
        ({"optimiser": "sgd"}, {"weight_decay": 0.01, "momentum": 0.9}),
        ({"optimiser": "adafactor"}, {"weight_decay": 0.01, "relative_step": False, "scale_parameter": False, "warmup_init": False}),
        (
            {"optimiser": "prodigy", "lr": 1, "d_coef": 2, "bias_correction": True, "safeguard_warmup": True},
            {"weight_decay": 0.01, "decouple": True, "d0": 1e-6, "use_bias_correction": True, "d_coef": 2, "safeguard_warmup": True},
        ),
    ],
)
def test_optimiser_arguments_are_read_as_they_are_meant(recipe, expected):
    assert arguments(**recipe) == expected


def test_metadata_are_sd_scripts():
    found = recipe_metadata(TrainSpec(min_snr_gamma=5, noise_offset=0.05, optimiser="prodigy", lr=1, ema_decay=0.99, schedule="cosine"))
    assert found["ss_min_snr_gamma"] == "5.0"
    assert found["ss_noise_offset"] == "0.05"
    assert found["ss_lr_scheduler"] == "cosine"
    assert found["ss_optimizer"].startswith("prodigyopt.prodigy.Prodigy(weight_decay=0.01,decouple=True")
    assert found["loralab.train.ema_decay"] == "0.99"
    plus = recipe_metadata(TrainSpec(loraplus_ratio=16, targets="transformer+conv", rank=4, alpha=2))
    assert json.loads(plus["ss_network_args"]) == {"conv_dim": "4", "conv_alpha": "2", "loraplus_lr_ratio": "16"}


@pytest.mark.parametrize(
    ("recipe", "module", "expected"),
    [
        ({"rank_dropout": 0.1, "module_dropout": 0.2}, "networks.lora", {"rank_dropout": "0.1", "module_dropout": "0.2"}),
        ({"dora": True}, "lycoris.kohya", {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"}),
        ({"algo": "loha", "rslora": True}, "lycoris.kohya", {"algo": "loha", "rs_lora": "True"}),
        ({"algo": "loha"}, "lycoris.kohya", {"algo": "loha"}),
        (
            {"algo": "lokr", "lokr_factor": 8, "lokr_full_matrix": True}, "lycoris.kohya",
            {"algo": "lokr", "factor": "8", "full_matrix": "True"},
        ),
        ({"algo": "ia3"}, "lycoris.kohya", {"algo": "ia3"}),
        (
            {"algo": "loha", "targets": "transformer+conv"}, "lycoris.kohya",
            {"algo": "loha", "conv_dim": "4", "conv_alpha": "2"},
        ),
    ],
)  # fmt: skip
def test_network_arguments_are_those_of_sd_scripts_and_lycoris(recipe, module, expected):
    spec = TrainSpec(rank=4, alpha=2, **recipe)
    assert network_arguments(spec) == expected
    assert network_module(spec) == module
    found = recipe_metadata(spec)
    assert json.loads(found["ss_network_args"]) == expected
    assert found.get("ss_network_module", "networks.lora") == module
    assert found.get("ss_network_alpha", "2") == "2"
    assert not any(key.startswith("loralab.") for key in found)


@pytest.fixture
def lycoris(monkeypatch):
    """LyCORIS' network, with what presets change of its class put back afterwards."""
    from lycoris.kohya import LycorisNetworkKohya

    for name in [name for name in vars(LycorisNetworkKohya) if name.isupper()]:
        monkeypatch.setattr(LycorisNetworkKohya, name, getattr(LycorisNetworkKohya, name))
    return LycorisNetworkKohya


@pytest.mark.filterwarnings("ignore:.*lora_dim.*")
@pytest.mark.usefixtures("lycoris")
@pytest.mark.parametrize(
    "recipe",
    [
        {"algo": "ia3", "text_encoder_lr": 1e-4}, {"algo": "loha", "text_encoder_lr": 1e-4},
        {"algo": "loha", "targets": "transformer+conv", "text_encoder_lr": 1e-4}, {"dora": True, "targets": "transformer+conv"},
    ],
)  # fmt: skip
def test_lycoris_trains_the_layers_that_we_do_when_it_is_told_what_is_exported(tiny_base, tmp_path, recipe):
    from lycoris.kohya import create_network

    spec = TrainSpec(rank=1, alpha=1, **recipe)
    arguments = network_arguments(spec)
    (tmp_path / "lycoris.toml").write_text(lycoris_preset(spec), encoding="utf-8")
    arguments["preset"] = str(tmp_path / "lycoris.toml")
    text_encoder = tiny_base.text_encoder if spec.trains_text else None
    network = create_network(1.0, spec.rank, 1.0, None, text_encoder, tiny_base.unet, **arguments)
    layers = {lora.lora_name: lora for lora in [*network.unet_loras, *network.text_encoder_loras]}
    write_key = family_of(tiny_base).write_key  # sd-scripts' text encoder has a part text_model, that of transformers 5 has none
    ours = {write_key(path).replace("_text_model_", "_"): path for path in trained_layers(tiny_base, spec)}
    layers = {name.replace("_text_model_", "_"): lora for name, lora in layers.items()}
    assert layers.keys() == ours.keys()
    if spec.algo == "ia3":
        assert {name for name, lora in layers.items() if lora.train_input} == {
            name for name, path in ours.items() if path.endswith(IA3_ON_INPUT)
        }
    if spec.dora:
        assert all(lora.wd and lora.wd_on_out for lora in layers.values())


def test_a_rank_stabilised_lora_is_one_of_another_alpha(tiny_base):
    """alpha / sqrt(rank) = alpha sqrt(rank) / rank: `networks.lora`, which has dropouts and blocks as the lab has them."""
    spec = TrainSpec(rank=8, alpha=2, rslora=True, network_dropout=0.1, rank_dropout=0.2, targets="transformer+conv", block_ranks={"up": 2})
    assert network_module(spec) == "networks.lora"
    assert network_alpha(spec, 8) == "5.65685425"
    blocks = block_arguments(tiny_base, spec)
    pairs = zip(blocks["block_dims"].split(","), blocks["block_alphas"].split(","), strict=True)
    assert set(pairs) == {("8", "5.65685425"), ("2", "2.82842712")}  # 2 sqrt(8), 2 sqrt(2)
    found = network_arguments(spec, blocks)
    assert found.items() >= {"conv_dim": "8", "conv_alpha": "5.65685425", "rank_dropout": "0.2"}.items()
    assert not found.keys() & {"algo", "preset", "rs_lora"}
    words = recipe_options(spec, blocks)
    assert words[words.index("--network_dropout") + 1] == "0.1"
    told = recipe_metadata(spec, blocks)
    assert told["loralab.train.rslora"] == "True"
    assert not told.keys() & {"ss_network_module", "ss_network_alpha"}  # the file says them of its own tensors


def test_metadata_say_no_more_than_lycoris_has_words_for(tiny_base):
    spec = TrainSpec(algo="loha", targets="transformer+conv", block_lrs={"down": 0.5})
    told = recipe_metadata(spec, block_arguments(tiny_base, spec))
    assert json.loads(told["loralab.train.block_lrs"]) == {"down": 0.5}
    assert json.loads(told["ss_network_args"]) == {"algo": "loha", "conv_dim": "2", "conv_alpha": "2"}


def test_metadata_of_a_start_that_is_taken_off_say_the_rank_that_the_file_has():
    told = recipe_metadata(TrainSpec(start="pissa", rank=4, alpha=2, loraplus_ratio=4, targets="transformer+conv"))
    assert json.loads(told["ss_network_args"]) == {"conv_dim": "8", "conv_alpha": "4", "loraplus_lr_ratio": "4"}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_blocks_are_counted_as_sd_scripts_counts_them(family, tiny_base):
    """By hand: of two stages of one layer each, SD1's down.0 is block 1, mid is 12, up.1 is 13 + 3; SDXL's go by their old names."""
    base = replace(tiny_base, family=family)
    plain = TrainSpec(rank=4, alpha=2)
    assert block_arguments(base, plain) == {}
    ranks = block_arguments(base, TrainSpec(rank=4, alpha=2, block_ranks={"down": 2, "up": 8}))
    rates = block_arguments(base, TrainSpec(block_lrs={"down.0": 0.5, "mid": 0, "up": 2}))
    dims = [int(word) for word in ranks["block_dims"].split(",")]
    if family == "sd1":
        assert dims == [4, 2, *[4] * 14, 8, 8, *[4] * 7]
        assert rates["down_lr_weight"] == "1,0.5" + ",1" * 10
        assert (rates["mid_lr_weight"], rates["up_lr_weight"]) == ("0", "1,1,1,2,2,1,1,1,1,1,1,1")
    else:
        assert dims == [4, 4, 2, *[4] * 12, 8, 8, *[4] * 6]
        assert rates["down_lr_weight"] == "1,0.5" + ",1" * 7
        assert (rates["mid_lr_weight"], rates["up_lr_weight"]) == ("1,0,1", "1,1,2,2" + ",1" * 5)
    assert ranks["block_alphas"] == ",".join(["2"] * len(dims))
    spec = TrainSpec(rank=4, alpha=2, block_ranks={"down": 2, "up": 8})
    assert json.loads(recipe_metadata(spec, ranks)["ss_network_args"]) == ranks


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("block_ranks", {"block_ranks": {"down.0.attentions": 3}, "targets": "transformer+conv"}),  # sd-scripts' blocks are not as fine
        ("block_lrs", {"block_lrs": {"text": 0.5}, "text_encoder_lr": 1e-4}),
    ],
)
def test_blocks_that_sd_scripts_does_not_have_are_refused_and_told_in_the_labs_words(name, recipe, tiny_base):
    spec = TrainSpec(**recipe)
    blocks = block_arguments(tiny_base, spec)
    assert blocks is None
    with pytest.raises(LabError, match=name):
        recipe_options(spec, blocks)
    assert json.loads(recipe_metadata(spec, blocks)[f"loralab.train.{name}"]) == recipe[name]


@pytest.mark.parametrize(
    "knob",
    [
        {"p2_gamma": 1}, {"ema_decay": 0.9}, {"timestep_sampling": "sigmoid"}, {"schedule": "rex"}, {"start": "pissa"},
        {"dora_norm_constant": True, "dora": True}, {"block_ranks": {"down": 1}, "algo": "loha"},
    ],
)  # fmt: skip
def test_what_sd_scripts_cannot_do_is_refused_by_name(knob):
    with pytest.raises(LabError, match=next(iter(knob))) as raised:
        recipe_options(TrainSpec(**knob))
    assert raised.value.kind == "spec"

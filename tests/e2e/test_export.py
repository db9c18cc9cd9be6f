"""Export: what another trainer is handed, read back and run with a stand-in for sd-scripts that knows its option names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from loralab.data import read_folder
from loralab.exporting.study import full_batches
from tests.support.commands import run

STUDY = """
study: mine
base: petri
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
train: {rank: 4, alpha: 2, lr: 2e-3, steps: 7, batch: 2, replicates: 3, warmup: 2}
arms:
  plain: {data: grey, captions: "myshape, {shape}"}
  conv: {data: grey, captions: myshape, train: {targets: transformer+conv, schedule: cosine, text_encoder_lr: 1e-4}}
experiments:
  one:
    question: Anything?
    claims:
      - {say: it changes, measure: change, cell: plain @ "myshape", versus: conv @ "myshape", expect: higher, margin_absolute: 1}
      - {say: early, measure: change, cell: 'conv @ "myshape", step 4', expect: higher, margin_absolute: 1}
      - {say: later, measure: change, cell: 'conv @ "myshape", step 6', expect: higher, margin_absolute: 1}
"""
#: options of sd-scripts' train_network.py that take one value, several, none (its argument parser, 2025)
ONE = (
    "pretrained_model_name_or_path dataset_config output_dir output_name save_model_as save_precision mixed_precision network_module "
    "network_dim network_alpha learning_rate unet_lr text_encoder_lr max_train_steps seed optimizer_type lr_scheduler lr_warmup_steps "
    "max_grad_norm clip_skip save_every_n_steps"
)
STAND_IN = f"""
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for name in {ONE!r}.split():
    parser.add_argument("--" + name)
for name in ("optimizer_args", "network_args"):
    parser.add_argument("--" + name, nargs="*")
for name in ("network_train_unet_only", "v_parameterization", "zero_terminal_snr"):
    parser.add_argument("--" + name, action="store_true")
given = vars(parser.parse_args())
assert pathlib.Path(given["dataset_config"]).is_file()
pathlib.Path(given["output_dir"]).mkdir(exist_ok=True)
(pathlib.Path(given["output_dir"]) / (given["output_name"] + ".json")).write_text(json.dumps(given))
"""


POWERSHELL = ("powershell", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "mine.yaml").write_text(STUDY, encoding="utf-8")
    said = json.loads(run("export", folder / "mine.yaml", "--out", folder / "out", "--lab", folder / "lab", "--json").stdout)
    assert said["arms"] == ["plain", "conv"]
    assert said["n_runs"] == 6
    assert "sd-scripts cannot load petri" in said["notes"][0]
    return folder / "out"


def test_the_data_folder_and_its_toml_are_what_the_lab_would_train_on(exported: Path):
    config = tomllib.loads((exported / "plain" / "dataset.toml").read_text(encoding="utf-8"))
    assert config["general"] == {"caption_extension": ".txt", "shuffle_caption": False, "enable_bucket": False}
    (dataset,) = config["datasets"]
    assert (dataset["resolution"], dataset["batch_size"]) == (64, 2)
    (subset,) = dataset["subsets"]
    assert subset == {"image_dir": "data/1_plain", "num_repeats": 1}
    examples = read_folder(exported / "plain" / "data", 64).examples
    assert [example.caption for example in examples] == ["myshape, circle", "myshape, square"]


def test_the_commands_run_and_say_the_recipe(exported: Path, tmp_path: Path):
    (tmp_path / "train_network.py").write_text(STAND_IN, encoding="utf-8")
    settings = os.environ | {"SD_SCRIPTS": str(tmp_path), "BASE": "a base.safetensors", "LAUNCH": sys.executable}
    for arm in ("plain", "conv"):
        train = ["bash", str(exported / arm / "train.sh")] if os.name != "nt" else [*POWERSHELL, str(exported / arm / "train.ps1")]
        subprocess.run(train, env=settings, check=True, timeout=120)
    plain = [json.loads((exported / "plain" / "loras" / f"plain-r{r}.json").read_text(encoding="utf-8")) for r in range(3)]
    assert [given["seed"] for given in plain] == ["0", "1", "2"]
    wanted = {
        "pretrained_model_name_or_path": "a base.safetensors", "network_dim": "4", "network_alpha": "2", "learning_rate": "0.002",
        "max_train_steps": "7", "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": "2", "network_train_unet_only": True,
        "optimizer_args": ["weight_decay=0.01"], "network_args": None, "v_parameterization": False,
    }  # fmt: skip
    assert {name: plain[0][name] for name in wanted} == wanted
    conv = json.loads((exported / "conv" / "loras" / "conv-r1.json").read_text(encoding="utf-8"))
    wanted = {"network_args": ["conv_dim=4", "conv_alpha=2"], "text_encoder_lr": "0.0001", "lr_scheduler": "cosine", "seed": "1"}
    assert {name: conv[name] for name in wanted} == wanted
    assert conv["network_train_unet_only"] is False
    assert (conv["save_every_n_steps"], plain[0]["save_every_n_steps"]) == ("2", None)  # steps 4 and 6 are among every second


@pytest.mark.parametrize(
    ("repeats", "batch", "often"),
    [((1, 1, 1), 4, (4, 4, 4)), ((1, 1), 2, (1, 1)), ((3, 1), 2, (3, 1)), ((2, 1), 2, (4, 2))],
)
def test_an_epoch_is_made_of_full_batches(repeats: tuple[int, ...], batch: int, often: tuple[int, ...]):
    """sd-scripts cuts the last batch of an epoch short: 3 pictures under a batch of 4 would be trained on by threes."""
    assert full_batches(repeats, batch) == often
    assert sum(often) % batch == 0


def test_a_folder_in_use_is_refused(exported: Path):
    done = run("export", exported.parent / "mine.yaml", "--out", exported, "--lab", exported.parent / "lab", code=2)
    assert "is already in use" in done.stderr

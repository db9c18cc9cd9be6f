"""The training stage over a tiny base: with a trained text encoder, what the files say of themselves, and that nothing is trained twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from loralab.adapters import adapts_text
from loralab.bases import model_hashes
from loralab.engine import training
from loralab.engine.datasets import Dataset
from loralab.engine.plan import make_plan
from loralab.spec import AdapterSource
from loralab.spec.models import StudySpec
from loralab.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN, TEXT = AdapterSource("plain", 0), AdapterSource("text", 0)
SPEC = StudySpec.model_validate({
    "study": "tiny", "data": {"grey": {"generate": "shapes", "shapes": ["circle"]}},
    "train": {"rank": 2, "steps": 2, "batch": 1, "replicates": 1},
    "arms": {
        "plain": {"data": "grey", "captions": "cat"},
        "text": {"data": "grey", "captions": "cat", "train": {"text_encoder_lr": 5e-4, "targets": "transformer+conv"}},
    },
    "experiments": {"one": {"question": "?", "claims": [
        {"say": "?", "measure": "chroma", "cell": 'text @ "cat"', "versus": 'plain @ "cat"', "expect": "lower", "margin_absolute": 1},
    ]}},
})  # fmt: skip
#: what readers of adapter files look for (kohya-ss/sd-scripts, and the modelspec standard)
WANTED = (
    "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args", "ss_output_name",
    "ss_tag_frequency", "ss_dataset_dirs", "ss_seed", "ss_sd_model_name", "ss_sd_model_hash", "ss_new_sd_model_hash", "ss_resolution",
    "ss_text_encoder_lr", "ss_unet_lr", "sshs_model_hash", "sshs_legacy_hash", "modelspec.sai_model_spec", "modelspec.architecture",
    "modelspec.implementation", "modelspec.title", "modelspec.resolution", "loralab.study", "loralab.arm", "loralab.replicate",
)  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    return Dataset("0" * 32, images, ("cat", "cat"), (1, 2), tmp_path, ())


def test_runs_with_a_text_encoder_and_without_become_files_that_say_what_they_are(tiny_base, dataset, tmp_path):
    store, plan = Store(tmp_path / "store"), make_plan(SPEC)
    datasets = {"plain": dataset, "text": dataset}
    keys = {run.source: training.adapter_key(tiny_base, run, dataset, plan.spec) for run in plan.runs}
    assert sorted(training.stacks_of(plan), key=str) == [[PLAIN], [TEXT]]
    for stack in training.stacks_of(plan):
        assert len(list(training.train_runs(store, tiny_base, plan, datasets, keys, stack))) == 2
        assert list(training.train_runs(store, tiny_base, plan, datasets, keys, stack)) == []
    for source, with_text in ((PLAIN, False), (TEXT, True)):
        assert adapts_text(training.load_run(store, tiny_base, keys[source])) == with_text
        with safe_open(training.adapter_file(store, keys[source]), "pt") as file:
            metadata, names = file.metadata(), list(file.keys())
        assert [name for name in WANTED if name not in metadata] == []
        hashes = model_hashes(tiny_base)
        assert (metadata["ss_sd_model_hash"], metadata["ss_new_sd_model_hash"]) == hashes
        assert metadata["ss_text_encoder_lr"] == ("0.0005" if with_text else "0")
        assert any(name.startswith("lora_te_text_model_encoder_layers_0_mlp_fc1") for name in names) == with_text
        assert any("resnets_0_conv1" in name for name in names) == with_text


def test_captions_are_embedded_once_or_left_as_tokens(tiny_base, monkeypatch):
    plain, text = (run.train for run in make_plan(SPEC).runs)
    assert training.caption_tensors(tiny_base, ["cat"], plain)["tokens"] is None
    monkeypatch.setattr(training, "embed_captions", lambda *_, **__: pytest.fail("embeddings would be out of date after one step"))
    found = training.caption_tensors(tiny_base, ["cat", "a"], text)
    assert found["embeddings"] is None
    assert found["tokens"].shape == (2, 12)
    assert found["tokens"].dtype == torch.int64

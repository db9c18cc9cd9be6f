"""The training stage over a tiny base: with a trained text encoder, what the files say of themselves, and that nothing is trained twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from loralab.adapters import adapts_text
from loralab.bases import model_hashes
from loralab.spec import BASE, AdapterSource
from loralab.spec.models import StudySpec
from loralab.stages import trained
from loralab.stages.cards import facts_of
from loralab.store import Store
from loralab.study.plan import make_plan, stacks_of
from loralab.study.rounds import plan_round
from tests.carrying import carry

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


def test_runs_with_a_text_encoder_and_without_become_files_that_say_what_they_are(tiny_base, tmp_path):
    store, its = Store(tmp_path / "store"), plan_round(make_plan(SPEC), {BASE: facts_of(tiny_base)}, tmp_path)
    groups = [group for group in its.groups if group.stage in ("data", "trained")]
    assert sorted(stacks_of(its.plan), key=str) == [[PLAIN], [TEXT]]
    assert sum(event.stage == "train" and event.made is None for event in carry(groups, store, tiny_base)) == 2 * (2 + 1)  # steps and end
    made = {ref: (store.path(*ref) / "manifest.json").stat().st_mtime_ns for ref in its.adapters.values()}
    carry(groups, store, tiny_base)
    assert {ref: (store.path(*ref) / "manifest.json").stat().st_mtime_ns for ref in its.adapters.values()} == made
    for source, with_text in ((PLAIN, False), (TEXT, True)):
        folder = store.path(*its.adapters[source])
        assert adapts_text(trained.load_from(folder, tiny_base)) == with_text
        with safe_open(folder / trained.ADAPTER_FILE, "pt") as file:
            metadata, names = file.metadata(), list(file.keys())
        assert [name for name in WANTED if name not in metadata] == []
        hashes = model_hashes(tiny_base)
        assert (metadata["ss_sd_model_hash"], metadata["ss_new_sd_model_hash"]) == hashes
        assert metadata["ss_text_encoder_lr"] == ("0.0005" if with_text else "0")
        assert any(name.startswith("lora_te_text_model_encoder_layers_0_mlp_fc1") for name in names) == with_text
        assert any("resnets_0_conv1" in name for name in names) == with_text


def test_captions_are_embedded_once_or_left_as_tokens(tiny_base, monkeypatch):
    plain, text = (run.train for run in make_plan(SPEC).runs)
    assert trained.caption_tensors(tiny_base, ["cat"], plain)["tokens"] is None
    monkeypatch.setattr(trained, "embed_captions", lambda *_, **__: pytest.fail("embeddings would be out of date after one step"))
    found = trained.caption_tensors(tiny_base, ["cat", "a"], text)
    assert found["embeddings"] is None
    assert found["tokens"].shape == (2, 12)
    assert found["tokens"].dtype == torch.int64


def test_an_arm_may_read_its_captions_at_another_layer_than_pictures_are_drawn_with(tiny_base, tmp_path):
    """The same LoRA as where the whole study reads there; its file says so, and the other arm's is what it was."""

    def files(name: str, sample: dict[str, int], skipped: dict[str, int]) -> dict[str, Path]:
        arms = {arm: {"data": "grey", "captions": "cat", "train": train} for arm, train in (("plain", {}), ("text", skipped))}
        spec = StudySpec.model_validate(SPEC.model_dump(exclude_unset=True) | {"arms": arms, "sample": sample})
        store, its = Store(tmp_path / name), plan_round(make_plan(spec), {BASE: facts_of(tiny_base)}, tmp_path)
        carry([group for group in its.groups if group.stage in ("data", "trained")], store, tiny_base)
        return {arm: store.path(*its.adapters[AdapterSource(arm, 0)]) / trained.ADAPTER_FILE for arm in arms}

    apart, together = files("apart", {}, {"clip_skip": 2}), files("together", {"clip_skip": 2}, {})
    tensors = {}
    for name, file in {**apart, "drawn at 2": together["plain"]}.items():
        with safe_open(file, "pt") as opened:
            tensors[name] = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a mapping)
            assert opened.metadata().get("ss_clip_skip") == (None if name == "plain" else "2")
    assert all(torch.equal(value, tensors["drawn at 2"][key]) for key, value in tensors["text"].items())
    assert any(not torch.equal(value, tensors["plain"][key]) for key, value in tensors["text"].items())

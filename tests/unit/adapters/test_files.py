"""Adapter files: read by diffusers and keyed as ComfyUI reads them, equal bytes, hashes, and each hostile file with its error."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from safetensors.torch import save as safetensors_bytes

from loralab.adapters import Adapter, AdapterStack, adapted_layers, adapter_sha256, load_adapter, save_adapter
from loralab.adapters.header import read_header
from loralab.bases.unet_names import kohya_key
from loralab.errors import LabError

pytestmark = pytest.mark.usefixtures("one_thread")
METADATA = {
    "ss_output_name": "arm-r0",
    "ss_resolution": "(16, 16)",
    "ss_seed": "0",
    "ss_tag_frequency": '{"1_arm": {"cat": 2}}',
    "loralab.arm": "arm",
}
KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.fixture
def saved(tmp_path, random_adapter):
    """A good file and its adapter."""
    adapter = random_adapter(1, rank=4, alpha=2.0)
    save_adapter(tmp_path / "good.safetensors", adapter, metadata=METADATA)
    return tmp_path / "good.safetensors", adapter


@pytest.mark.parametrize("targets", ["transformer", "transformer+conv"])
def test_a_file_read_back_is_the_same_adapter(tmp_path, tiny_base, random_adapter, targets):
    adapter = random_adapter(1, rank=4, alpha=2.0, targets=targets)
    save_adapter(tmp_path / "a.safetensors", adapter, metadata=METADATA)
    loaded = load_adapter(tmp_path / "a.safetensors", tiny_base)
    assert adapter_sha256(loaded) == adapter_sha256(adapter)
    assert loaded.metadata["loralab.arm"] == "arm"


def test_diffusers_reads_the_file_as_the_stack_computes_it(saved, tiny_base, tiny_base_folder, unet_inputs, predict):
    path, adapter = saved
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, local_files_only=True)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
    inputs = unet_inputs(3)
    for strength in (1.0, 0.5):
        with torch.no_grad():
            theirs = pipeline.unet(*inputs, return_dict=False, cross_attention_kwargs={"scale": strength})[0]
        with AdapterStack(tiny_base, [adapter]).attached([strength]):
            ours = predict(inputs)
        assert (ours - theirs).abs().max() < 1e-5
        assert (ours - predict(inputs)).abs().max() > 1e-2


def test_keys_follow_comfyuis_rule_and_kohyas_shapes(saved, tiny_base):
    path, _ = saved
    tensors = load_file(path)
    # ComfyUI, comfy/lora.py model_lora_keys_unet: "lora_unet_" + path of the diffusers layer with "." -> "_"
    expected = {"lora_unet_" + layer.removeprefix("unet.").replace(".", "_") for layer in adapted_layers(tiny_base, "transformer")}
    assert {name.split(".")[0] for name in tensors} == expected
    assert {name.split(".", 1)[1] for name in tensors} == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert all(value.shape == () and value == 2.0 for name, value in tensors.items() if name.endswith(".alpha"))
    conv = "lora_unet_down_blocks_0_attentions_0_proj_in"
    assert tensors[f"{conv}.lora_down.weight"].shape == (4, 16, 1, 1)
    assert tensors[f"{conv}.lora_up.weight"].shape == (16, 4, 1, 1)
    assert tensors[f"{KEY}.lora_down.weight"].shape == (4, 16)


@pytest.mark.parametrize("path", ["text_encoder.encoder.layers.0.mlp.fc1", "text_encoder.text_model.encoder.layers.0.mlp.fc1"])
def test_text_encoder_keys_keep_text_model(path):
    assert kohya_key(path) == "lora_te_text_model_encoder_layers_0_mlp_fc1"


def test_metadata_and_hashes(saved):
    path, _ = saved
    raw = path.read_bytes()
    data = raw[8 + struct.unpack("<Q", raw[:8])[0] :]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata.items() >= METADATA.items()
    assert metadata["ss_network_module"] == "networks.lora"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "2")
    assert (metadata["modelspec.title"], metadata["modelspec.resolution"]) == ("arm-r0", "16x16")
    assert metadata["sshs_model_hash"] == hashlib.sha256(data).hexdigest()
    assert metadata["sshs_legacy_hash"] == "e3b0c442"  # sha256 of nothing: the file ends before 1 MiB


def test_the_legacy_hash_is_that_of_the_library_for_a_file_beyond_1_mib(tmp_path):
    """kohya's definition (library/train_util.py, addnet_hash_legacy): over the file that safetensors writes with the ss_ metadata alone."""
    generator = torch.Generator().manual_seed(0)
    pairs = {f"unet.{name}": (torch.randn(8, 9000, generator=generator), torch.randn(9000, 8, generator=generator)) for name in "abc"}
    save_adapter(tmp_path / "large.safetensors", Adapter(pairs, 4.0, 8), metadata=METADATA)
    with safe_open(tmp_path / "large.safetensors", "pt") as file:
        metadata = file.metadata()
    training = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    theirs = safetensors_bytes(load_file(tmp_path / "large.safetensors"), training)
    assert len(theirs) > 0x110000
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(theirs[0x100000:0x110000]).hexdigest()[:8] != "e3b0c442"


def test_the_same_adapter_gives_the_same_bytes(saved):
    path, adapter = saved
    again = path.with_name("again.safetensors")
    shuffled = Adapter(dict(reversed(adapter.weights.items())), adapter.alpha, adapter.rank)
    save_adapter(again, shuffled, metadata=dict(reversed(METADATA.items())))
    assert again.read_bytes() == path.read_bytes()


def test_layers_of_different_rank_and_alpha_keep_their_product(saved, tiny_base):
    path, _ = saved
    tensors = load_file(path)
    tensors[f"{KEY}.alpha"] = torch.tensor(1.0)
    tensors[f"{KEY}.lora_down.weight"] = tensors[f"{KEY}.lora_down.weight"][:2].contiguous()
    tensors[f"{KEY}.lora_up.weight"] = tensors[f"{KEY}.lora_up.weight"][:, :2].contiguous()
    save_file(tensors, path)
    loaded = load_adapter(path, tiny_base)
    for layer, (down, up) in loaded.weights.items():
        key = kohya_key(layer)
        own_down, own_up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
        expected = float(tensors[f"{key}.alpha"]) / len(own_down) * own_up.flatten(1) @ own_down.flatten(1)
        assert torch.allclose(loaded.scale * up.flatten(1) @ down.flatten(1), expected, atol=1e-7)


def test_half_precision_files_and_a_missing_alpha(saved, tiny_base):
    path, _ = saved
    tensors = {name: value.bfloat16() for name, value in load_file(path).items() if not name.endswith(".alpha")}
    save_file(tensors, path)
    loaded = load_adapter(path, tiny_base)
    assert (loaded.alpha, loaded.rank) == (4.0, 4)  # kohya: no alpha means alpha = rank
    assert all(down.dtype == torch.float32 for down, _ in loaded.weights.values())


def test_a_header_whose_length_begins_like_a_zip_archive_is_no_pickle(saved, tiny_base):
    path, adapter = saved
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    wanted = int.from_bytes(b"PK", "little") + (0x10000 if length > 0x4B50 else 0)
    path.write_bytes(struct.pack("<Q", wanted) + raw[8 : 8 + length] + b" " * (wanted - length) + raw[8 + length :])
    assert adapter_sha256(load_adapter(path, tiny_base)) == adapter_sha256(adapter)


# --- hostile files: each is one error that says what is wrong ----------------------------------------------------------------


def error(path: Path, base: object) -> str:
    with pytest.raises(LabError) as raised:
        load_adapter(path, base)
    assert raised.value.kind == "model"
    return str(raised.value)


def rewrite(path: Path, change) -> None:
    """Change the tensors of a file."""
    tensors = load_file(path)
    change(tensors)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def patch_header(path: Path, change) -> None:
    """Change the header's JSON of a file, leaving the data as they are."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    text = change(header)
    text = (json.dumps(header) if text is None else text).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


CHANGES = {
    "a key of no layer": (lambda t: t.update({"lora_unet_nowhere.lora_down.weight": torch.zeros(1, 4)}), "lora_unet_nowhere"),
    "a tensor that is no LoRA": (lambda t: t.update({"model.weight": torch.zeros(2)}), "model.weight"),
    "DoRA scales of another layer": (lambda t: t.update({f"{KEY}.dora_scale": torch.ones(17)}), "another base"),
    "SDXL's text encoders": (lambda t: t.update({"lora_te2_text_model_a.alpha": torch.tensor(1.0)}), "is a LoRA for SDXL"),
    "no up": (lambda t: t.pop(f"{KEY}.lora_up.weight"), "half of the pair is missing"),
    "no down": (lambda t: t.pop(f"{KEY}.lora_down.weight"), "half of the pair is missing"),
    "NaN": (lambda t: t[f"{KEY}.lora_up.weight"].fill_(float("nan")), "NaN or infinity"),
    "infinity": (lambda t: t[f"{KEY}.lora_down.weight"].fill_(float("inf")), "NaN or infinity"),
    "an alpha of 0": (lambda t: t.update({f"{KEY}.alpha": torch.tensor(0.0)}), "an alpha of"),
    "two alphas": (lambda t: t.update({f"{KEY}.alpha": torch.ones(2)}), "alpha has shape"),
    "another base's width": (
        lambda t: t.update({f"{KEY}.lora_down.weight": torch.zeros(4, 32)}),
        "another base",
    ),
    "ranks that disagree": (lambda t: t.update({f"{KEY}.lora_up.weight": torch.zeros(16, 3)}), "another base"),
    "rank 0": (
        lambda t: t.update({f"{KEY}.lora_down.weight": torch.zeros(0, 16), f"{KEY}.lora_up.weight": torch.zeros(16, 0)}),
        "has a rank of 0",
    ),
    "whole numbers": (lambda t: t.update({f"{KEY}.lora_up.weight": torch.zeros(16, 4, dtype=torch.int32)}), "stored as I32"),
    "nothing": (lambda t: t.clear(), "contains no LoRA"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_hostile_tensors(saved, tiny_base, name):
    path, _ = saved
    change, says = CHANGES[name]
    rewrite(path, change)
    assert says in error(path, tiny_base)


def test_at_most_five_strange_keys_are_named(saved, tiny_base):
    path, _ = saved
    rewrite(path, lambda t: t.update({f"strange{i}": torch.zeros(1) for i in range(9)}))
    text = error(path, tiny_base)
    assert "9 entries" in text
    assert "strange4" in text
    assert "strange5" not in text


UP = f"{KEY}.lora_up.weight"
HEADERS = {
    "offsets behind the end": (lambda h: h[UP].update(data_offsets=[0, 1 << 40]), "beyond the end of the file"),
    "a shape of terabytes": (lambda h: h[UP].update(shape=[1 << 20, 1 << 20]), "beyond the end of the file"),
    "negative numbers": (lambda h: h[UP].update(data_offsets=[-4, 0]), "whole numbers"),
    "text for a shape": (lambda h: h[UP].update(shape="16"), "must be a list"),
    "an entry without a type": (lambda h: h[UP].pop("dtype") and None, "cannot be read"),
    "shared bytes": (lambda h: h[UP].update(data_offsets=h[f"{KEY}.lora_down.weight"]["data_offsets"]), "overlap"),
    "a key twice": (lambda h: json.dumps(h)[:-1] + f', "{UP}": {json.dumps(h[UP])}}}', "twice"),
    "no JSON": (lambda h: "{" * 100, "cannot be read"),
    "deep JSON": (lambda h: "[" * 100_000, "cannot be read"),
    "a list": (lambda h: "[1, 2, 3]", "cannot be read"),
    "metadata of another kind": (lambda h: json.dumps(h | {"__metadata__": 3}), "cannot be read"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers(saved, tiny_base, name):
    path, _ = saved
    change, says = HEADERS[name]
    patch_header(path, lambda header: text if isinstance(text := change(header), str) else None)
    assert says in error(path, tiny_base)


def test_files_that_are_no_safetensors(saved, tiny_base, tmp_path):
    path, _ = saved
    whole = path.read_bytes()
    assert "no LoRA file" in error(tmp_path / "missing.safetensors", tiny_base)
    for damaged, says in [
        (b"", "not a complete safetensors file"),
        (whole[:6], "not a complete safetensors file"),
        (whole[:100], "not a complete safetensors file"),
        (whole[:-1], "beyond the end of the file"),
        (whole + b"\0", "leave gaps"),
        (struct.pack("<Q", 1 << 62) + whole[8:], "header would be"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"PK\x03\x04" + bytes(100), "pickle"),
    ]:
        path.write_bytes(damaged)
        assert says in error(path, tiny_base)


def test_nothing_is_read_before_the_header_has_passed(saved, tiny_base, monkeypatch):
    path, _ = saved
    rewrite(path, lambda t: t.update({"strange": torch.zeros(1)}))
    monkeypatch.setattr("loralab.adapters.header._read_tensor", lambda *_: pytest.fail("a tensor was read"))
    error(path, tiny_base)
    assert "strange" in read_header(path)[0]

"""Changes of biases and of normalisation layers: drawn as a model whose vectors were changed draws, for their own group alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loralab.adapters import Adapter, AdapterStack, adapter_sha256, adapts_text, load_adapter, save_adapter
from loralab.adapters.together import Part, add_adapters
from loralab.bases import Base
from loralab.bases.unet_names import kohya_key
from loralab.errors import LabError

pytestmark = pytest.mark.usefixtures("one_thread")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "adapters"
#: a layer's vector by its path inside the U-Net -> its size
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
VECTORS = {
    "conv_in.bias": 8, "down_blocks.0.resnets.0.conv1.bias": 8, f"{BLOCK}.ff.net.2.bias": 8, f"{BLOCK}.norm2.weight": 8,
    f"{BLOCK}.norm2.bias": 8,
    "down_blocks.0.resnets.0.norm1.weight": 8, "down_blocks.0.attentions.0.norm.bias": 8, "conv_norm_out.weight": 8,
}  # fmt: skip


def ending(name: str) -> str:
    is_norm = "norm" in name.split(".")[-2]
    return {"bias": ".b_norm" if is_norm else ".diff_b", "weight": ".w_norm"}[name.rpartition(".")[2]]


def changes(part: str = "unet") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {f"{part}.{name}": torch.randn(n, generator=generator) * 0.3 for name, n in VECTORS.items()}


def write(path: Path, vectors: dict[str, torch.Tensor]) -> Path:
    save_file({kohya_key(name.rpartition(".")[0]) + ending(name): values for name, values in vectors.items()}, path)
    return path


def changed(unet: torch.nn.Module, vectors: dict[str, torch.Tensor], strength: float) -> torch.nn.Module:
    moved = copy.deepcopy(unet)
    for name, values in vectors.items():
        moved.get_parameter(name.removeprefix("unet.")).data += strength * values
    return moved


def test_vectors_are_drawn_as_a_changed_model_draws_and_the_base_beside_them_bit_for_bit(tmp_path: Path, other_tools_base: Base) -> None:
    vectors, unet = changes(), other_tools_base.unet
    adapter = load_adapter(write(tmp_path / "a.safetensors", vectors), other_tools_base)
    assert adapter.shifts.keys() == vectors.keys()
    assert not adapter.weights
    generator = torch.Generator().manual_seed(0)
    x, text, levels = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 8, generator=generator), torch.tensor([100, 900])
    with torch.no_grad():
        plain = unet(torch.cat([x] * 3), levels.repeat(3), torch.cat([text] * 3), return_dict=False)[0]
        with AdapterStack(other_tools_base, [None, adapter, adapter]).attached([1.0, 0.5, 0.0]):
            drawn = unet(torch.cat([x] * 3), levels.repeat(3), torch.cat([text] * 3), return_dict=False)[0]
        after = unet(torch.cat([x] * 3), levels.repeat(3), torch.cat([text] * 3), return_dict=False)[0]
        expected = changed(unet, vectors, 0.5)(x, levels, text, return_dict=False)[0]
    assert torch.equal(drawn[:2], plain[:2])
    assert torch.equal(drawn[4:], plain[4:])
    assert torch.equal(after, plain)
    assert (drawn[2:4] - expected).abs().max() < 1e-5
    assert (expected - plain[:2]).abs().max() > 1e-2


def test_a_file_of_lycoris_full_is_weights_and_biases(other_tools_base: Base) -> None:
    state = load_file(FIXTURES / "lycoris-full.safetensors")
    adapter = load_adapter(FIXTURES / "lycoris-full.safetensors", other_tools_base)
    biases = {key.removesuffix(".diff_b"): value for key, value in state.items() if key.endswith(".diff_b")}
    assert {kohya_key(name.removesuffix(".bias")) for name in adapter.shifts} == biases.keys() != set()
    for name, values in adapter.shifts.items():
        assert torch.equal(values, biases[kohya_key(name.removesuffix(".bias"))].float())


def test_written_and_read_again_it_is_the_same(tmp_path: Path, other_tools_base: Base) -> None:
    for source in (FIXTURES / "lycoris-full.safetensors", write(tmp_path / "norms.safetensors", changes())):
        adapter = load_adapter(source, other_tools_base)
        save_adapter(tmp_path / "b.safetensors", adapter, metadata={})
        again = load_adapter(tmp_path / "b.safetensors", other_tools_base)
        assert adapter_sha256(again) == adapter_sha256(adapter)
        assert adapter_sha256(Adapter(adapter.weights, adapter.alpha, adapter.rank)) != adapter_sha256(adapter)


def test_sums_add_vectors_at_their_strengths(tmp_path: Path, other_tools_base: Base) -> None:
    adapter = load_adapter(write(tmp_path / "a.safetensors", changes()), other_tools_base)
    total = add_adapters([Part(adapter, 0.5, 0), Part(adapter, 0.25, 0)], other_tools_base)
    assert all((total.shifts[name] - 0.75 * values).abs().max() < 1e-6 for name, values in changes().items())


def test_a_text_encoders_norm_counts_as_its_own(tmp_path: Path, other_tools_base: Base) -> None:
    save_file({"lora_te_text_model_final_layer_norm.w_norm": torch.ones(8)}, tmp_path / "a.safetensors")
    adapter = load_adapter(tmp_path / "a.safetensors", other_tools_base)
    assert adapts_text(adapter)
    assert all("final_layer_norm.weight" in name for name in adapter.shifts)


def test_what_is_trained_further_has_factors_alone(tmp_path: Path, other_tools_base: Base) -> None:
    adapter = load_adapter(write(tmp_path / "a.safetensors", changes()), other_tools_base)
    with pytest.raises(LabError, match="biases or normalisation layers"):
        AdapterStack(other_tools_base, [adapter], trainable=True)

"""LoKr, DoRA, Tucker cores, OFT and differences of weights: drawn as LyCORIS's and PEFT's own layers compute them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loralab.adapters import AdapterStack, load_adapter
from loralab.bases import Base
from loralab.bases.unet_names import kohya_key
from loralab.errors import LabError

pytestmark = pytest.mark.usefixtures("one_thread")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "adapters"
LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"  # 8 x 8
WIDE = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"  # 64 x 8
POINT = "down_blocks.0.attentions.0.proj_in"  # 8 x 8, 1 x 1
KERNEL = "down_blocks.0.resnets.0.conv1"  # 8 x 8, 3 x 3
LAYERS = (LINEAR, WIDE, POINT, KERNEL)


def input_of(layer: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    if isinstance(layer, torch.nn.Linear):
        return torch.randn(5, layer.in_features, generator=generator)
    assert isinstance(layer, torch.nn.Conv2d)
    return torch.randn(2, layer.in_channels, 6, 6, generator=generator)


def lycoris_module(name: str, layer: torch.nn.Module, **settings: Any) -> Any:
    """A LyCORIS layer over ``layer``, all its parameters random."""
    from lycoris import modules

    module = getattr(modules, name)("x", layer, 1.0, **settings)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for key, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(value * (1 + 0.3 * noise) if "dora" in key or "rescale" in key else noise * 0.2)
    return module.eval()


MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "LoCon": ("LoConModule", {"lora_dim": 4, "alpha": 2}),
    "LoCon, Tucker": ("LoConModule", {"lora_dim": 4, "alpha": 2, "use_tucker": True}),
    "LoCon, rank-stabilised": ("LoConModule", {"lora_dim": 4, "alpha": 2, "rs_lora": True}),
    "DoRA on outputs": ("LoConModule", {"lora_dim": 4, "alpha": 2, "weight_decompose": True, "wd_on_out": True}),
    "DoRA on inputs": ("LoConModule", {"lora_dim": 4, "alpha": 2, "weight_decompose": True, "wd_on_out": False}),
    "LoHa": ("LohaModule", {"lora_dim": 3, "alpha": 3}),
    "LoHa, Tucker": ("LohaModule", {"lora_dim": 3, "alpha": 3, "use_tucker": True}),
    "LoHa, DoRA": ("LohaModule", {"lora_dim": 3, "alpha": 3, "weight_decompose": True}),
    "LoKr, whole": ("LokrModule", {"lora_dim": 1000, "alpha": 1, "factor": 4, "full_matrix": True}),
    "LoKr, second factored": ("LokrModule", {"lora_dim": 1, "alpha": 1, "factor": 2}),
    "LoKr, both factored": ("LokrModule", {"lora_dim": 1, "alpha": 1, "factor": -1, "decompose_both": True}),
    "LoKr, Tucker": ("LokrModule", {"lora_dim": 1, "alpha": 1, "factor": 2, "use_tucker": True}),
    "LoKr, DoRA": ("LokrModule", {"lora_dim": 1, "alpha": 1, "factor": 2, "weight_decompose": True}),
    "OFT": ("DiagOFTModule", {"lora_dim": 4}),
    "OFT, constrained": ("DiagOFTModule", {"lora_dim": 4, "constraint": 0.01}),
    "OFT, rescaled": ("DiagOFTModule", {"lora_dim": 4, "rescaled": True}),
    "(IA)3 on outputs": ("IA3Module", {}),
    "(IA)3 on inputs": ("IA3Module", {"train_on_input": True}),
    "GLoRA": ("GLoRAModule", {"lora_dim": 3, "alpha": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_a_kind_of_lycoris_is_drawn_as_its_own_layer_draws(tmp_path: Path, other_tools_base: Base, name: str) -> None:
    class_name, settings = MODULES[name]
    state, outputs = {}, {}
    for path in LAYERS:
        layer = other_tools_base.unet.get_submodule(path)
        module = lycoris_module(class_name, layer, **settings)
        state |= {f"{kohya_key('unet.' + path)}.{key}": value.detach().clone() for key, value in module.state_dict().items()}
        module.apply_to()
        with torch.no_grad():
            outputs[path] = layer(input_of(layer)).clone()
        module.restore()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "a.safetensors")
    adapter = load_adapter(tmp_path / "a.safetensors", other_tools_base)
    assert adapter.weights.keys() == {f"unet.{path}" for path in LAYERS}
    for path, theirs in outputs.items():
        layer = other_tools_base.unet.get_submodule(path)
        with torch.no_grad():
            plain = layer(input_of(layer))
            with AdapterStack(other_tools_base, [adapter]).attached():
                ours = layer(input_of(layer))
        assert (theirs - plain).abs().max() > 1e-3, path
        assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max())), path


@pytest.mark.parametrize(
    "name", ["lycoris-lokr", "lycoris-dora", "lycoris-tucker", "lycoris-loha-tucker", "lycoris-oft", "lycoris-glora", "lycoris-full"]
)
def test_files_that_lycoris_wrote_are_read_whole(other_tools_base: Base, name: str) -> None:
    path = FIXTURES / f"{name}.safetensors"
    layers = {key.partition(".")[0] for key in load_file(path)}
    adapter = load_adapter(path, other_tools_base)
    assert {kohya_key(layer) for layer in adapter.weights} == layers
    assert all(float(up.abs().max()) > 0 for _, up in adapter.weights.values())


@pytest.mark.parametrize("target", ["to_q", "conv1"])
def test_dora_of_peft_is_drawn_as_peft_draws(tmp_path: Path, other_tools_base: Base, target: str) -> None:
    import copy

    from peft import LoraConfig, get_peft_model

    unet = copy.deepcopy(other_tools_base.unet)
    model = get_peft_model(unet, LoraConfig(r=3, lora_alpha=5, target_modules=[target], use_dora=True))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "lora_" in key:
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(value * (1 + 0.3 * noise) if "magnitude" in key else noise * 0.2)
    model.eval().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))["use_dora"] is True
    adapter = load_adapter(tmp_path / "adapter_model.safetensors", other_tools_base)
    for path in adapter.weights:
        inner = path.removeprefix("unet.")
        layer, theirs = other_tools_base.unet.get_submodule(inner), unet.get_submodule(inner)
        with torch.no_grad(), AdapterStack(other_tools_base, [adapter]).attached():
            assert (layer(input_of(layer)) - theirs(input_of(layer))).abs().max() < 1e-5, path


def test_a_difference_of_weights_is_added(tmp_path: Path, other_tools_base: Base) -> None:
    shapes = {path: other_tools_base.unet.get_submodule(path).weight.shape for path in LAYERS}
    generator = torch.Generator().manual_seed(1)
    changes = {path: torch.randn(shape, generator=generator) * 0.1 for path, shape in shapes.items()}
    save_file({f"diffusion_model.{path}.diff": change for path, change in changes.items()}, tmp_path / "a.safetensors")
    adapter = load_adapter(tmp_path / "a.safetensors", other_tools_base)
    for path, change in changes.items():
        down, up = (factor.flatten(1) for factor in adapter.weights[f"unet.{path}"])
        assert (adapter.scale * up @ down - change.flatten(1)).abs().max() < 1e-6


def test_glora_of_old_lycoris_is_the_same_change(tmp_path: Path, other_tools_base: Base) -> None:
    """Before version 2 the two factors of each half had each other's names, which ComfyUI reads too."""
    shapes = {"a1.weight": (3, 8), "a2.weight": (8, 3), "b1.weight": (3, 8), "b2.weight": (64, 3), "alpha": ()}
    factors = {role: torch.randn(shape, generator=torch.Generator().manual_seed(len(role))) for role, shape in shapes.items()}
    factors["alpha"] = torch.tensor(2.0)
    save_file({f"{kohya_key(f'unet.{WIDE}')}.{role}": tensor for role, tensor in factors.items()}, tmp_path / "a.safetensors")
    adapter = load_adapter(tmp_path / "a.safetensors", other_tools_base)
    down, up = adapter.weights[f"unet.{WIDE}"]
    weight = other_tools_base.unet.get_submodule(WIDE).weight.detach()
    expected = 2 / 3 * (factors["b2.weight"] @ factors["b1.weight"] + weight @ factors["a2.weight"] @ factors["a1.weight"])
    assert (adapter.scale * up @ down - expected).abs().max() < 1e-5


KEY = kohya_key(f"unet.{LINEAR}")
BROKEN: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "LoKr of another size": ({"lokr_w1": (2, 2), "lokr_w2": (3, 4)}, "another base"),
    "LoKr without its second factor": ({"lokr_w1": (2, 2)}, "half of the pair is missing"),
    "LoKr with both forms": ({"lokr_w1": (2, 2), "lokr_w1_a": (2, 1), "lokr_w1_b": (1, 2), "lokr_w2": (4, 4)}, "half of the pair"),
    "a magnitude of another size": ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "dora_scale": (7, 1)}, "another base"),
    "a magnitude alone": ({"dora_scale": (8, 1)}, "half of the pair is missing"),
    "a difference of another size": ({"diff": (8, 9)}, "another base"),
    "OFT of another size": ({"oft_blocks": (3, 4, 4)}, "another base"),
    "BOFT": ({"oft_blocks": (2, 2, 4, 4)}, "contains BOFT, rotations in several stages"),
    "GLoRA of another size": ({"a1.weight": (9, 2), "a2.weight": (2, 9), "b1.weight": (8, 2), "b2.weight": (2, 9)}, "another base"),
    "GLoRA without a factor": ({"a1.weight": (8, 2), "a2.weight": (2, 8), "b1.weight": (8, 2)}, "half of the pair is missing"),
    "(IA)3 of another size": ({"weight": (9,), "on_input": ()}, "another base"),
    "(IA)3 without its numbers": ({"on_input": ()}, "half of the pair is missing"),
    "(IA)3 with a list of flags": ({"weight": (8,), "on_input": (8,)}, "a single number"),
    "PEFT's (IA)3": ({"ia3_l": (8, 1)}, "as PEFT writes it"),
    "a core of another rank": ({"lora_down.weight": (2, 8), "lora_mid.weight": (3, 3), "lora_up.weight": (8, 3)}, "another base"),
    "an empty factor": ({"lokr_w1": (0, 2), "lokr_w2": (4, 4)}, "has a rank of 0"),
    "a change of a bias of another size": ({"diff": (8, 8), "diff_b": (9,)}, "was it trained on another base"),
    "a change of a normalisation layer on a layer that is none": ({"w_norm": (8,)}, "match nothing in the base"),
    "PEFT's OFT": ({"oft_R.weight": (2, 6)}, "OFT on the input side"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_refused_with_its_shapes(tmp_path: Path, other_tools_base: Base, name: str) -> None:
    shapes, says = BROKEN[name]
    save_file({f"{KEY}.{role}": torch.ones(shape) for role, shape in shapes.items()}, tmp_path / "a.safetensors")
    with pytest.raises(LabError, match=says):
        load_adapter(tmp_path / "a.safetensors", other_tools_base)

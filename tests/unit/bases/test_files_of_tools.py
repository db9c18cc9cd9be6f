"""The key names that each tool writes, on both families: every spelling changes the weights by the same delta W, computed here.

Names by the tools' sources: OneTrainer modules/util/convert_lora_util.py and convert/lora/*.py, ComfyUI comfy/lora.py and
comfy_extras/nodes_lora_extract.py, kohya-ss/sd-scripts networks/lora.py, LyCORIS lycoris/wrapper.py, diffusers' own converter (called).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ldm
import pytest
import torch
from diffusers.utils import convert_state_dict_to_kohya
from safetensors.torch import save_file

from loralab.adapters import AdapterStack, load_adapter
from loralab.bases import Base, predict
from loralab.errors import LabError

pytestmark = pytest.mark.usefixtures("one_thread")
State = dict[str, torch.Tensor]
Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]
RANK, ALPHA = 4, 3.0


def layers_of(base: Base) -> dict[str, tuple[int, ...]]:
    """Every Linear and Conv2d of UNet and text encoders, as OneTrainer's empty filter has it; text encoders' layers inside `text_model`."""
    parts = {"unet": base.unet, "text_encoder": base.text_encoder, "text_encoder_2": base.text_encoder_2}
    return {
        f"{part}.{name}": tuple(layer.weight.shape)
        for part, model in parts.items()
        if model is not None
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and "text_projection" not in name
    }


def random_pairs(shapes: dict[str, tuple[int, ...]], rank: int = RANK) -> Pairs:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.05

    return {name: (draw(rank, *shape[1:]), draw(shape[0], rank, *(1,) * (len(shape) - 2))) for name, shape in shapes.items()}


def old(path: str, base: Base) -> str:
    """A UNet's path in the first Stable Diffusion code, by the hand-written table of the checkpoint tests."""
    n = base.unet.config.layers_per_block
    attended = {b for b, kind in enumerate(base.unet.config.up_block_types) if kind.startswith("CrossAttn")}
    return ldm._unet_name(f"{path.removeprefix('unet.')}.weight", n, attended).removesuffix(".weight")


def text(path: str, prefix: str) -> str:
    inner = path.partition(".")[2].removeprefix("text_model.")
    return f"{prefix}text_model.{inner}"


#: what stands before a layer in each tool's files: (UNet in whose naming, text encoders), both written with dots
Naming = Callable[[str, Base], str]


def naming(unet: str, encoders: dict[str, str], *, ldm_names: bool, flat: bool = False) -> Naming:
    def name(path: str, base: Base) -> str:
        part = path.partition(".")[0]
        if part == "unet":
            full = unet + (old(path, base) if ldm_names else path.removeprefix("unet."))
        else:
            full = text(path, encoders[part])
        return full.replace(".", "_") if flat else full

    return name


def clip(l_name: str, g_name: str) -> dict[str, str]:
    return {"text_encoder": l_name, "text_encoder_2": g_name}


COMFY_TEXT = clip("text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer.")
DOWN_UP, A_B = (".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")
#: tool -> (naming, endings, whether an alpha is written)
TOOLS: dict[str, tuple[Naming, tuple[str, str], bool]] = {
    "sd-scripts and OneTrainer KOHYA, SD1": (
        naming("lora_unet.", clip("lora_te.", "lora_te2."), ldm_names=False, flat=True),
        DOWN_UP,
        True,
    ),
    "sd-scripts and OneTrainer KOHYA, SDXL": (
        naming("lora_unet.", clip("lora_te1.", "lora_te2."), ldm_names=True, flat=True),
        DOWN_UP,
        True,
    ),
    "OneTrainer LEGACY": (naming("lora_unet.", clip("lora_te1.", "lora_te2."), ldm_names=False, flat=True), DOWN_UP, True),
    "OneTrainer COMFY": (naming("diffusion_model.", COMFY_TEXT, ldm_names=True), A_B, True),
    "OneTrainer OMI": (naming("unet.", clip("clip_l.", "clip_g."), ldm_names=True), DOWN_UP, True),
    "OneTrainer INTERNAL": (naming("unet.", clip("text_encoder.", "text_encoder_2."), ldm_names=False), DOWN_UP, True),
    "OneTrainer ORIGINAL": (naming("", clip("text_encoder.", "text_encoder_2."), ldm_names=True), A_B, True),
    "ComfyUI LoraSave": (naming("diffusion_model.", COMFY_TEXT, ldm_names=True), DOWN_UP, False),
    "ComfyUI prefixes over diffusers' names": (naming("diffusion_model.", COMFY_TEXT, ldm_names=False), DOWN_UP, True),
    "cut out of a checkpoint": (naming("model.diffusion_model.", COMFY_TEXT, ldm_names=True), DOWN_UP, True),
    "diffusers": (naming("unet.", clip("text_encoder.", "text_encoder_2."), ldm_names=False), A_B, False),
    "diffusers' scripts of 2023": (
        naming("unet.", clip("text_encoder.", "text_encoder_2."), ldm_names=False),
        (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
        False,
    ),
    "an adapter's name in the key": (
        naming("unet.", clip("text_encoder.", "text_encoder_2."), ldm_names=False),
        (".lora_A.mychar.weight", ".lora_B.mychar.weight"),
        False,
    ),
}


def written(pairs: Pairs, base: Base, tool: str, alpha: torch.Tensor | None = None) -> State:
    name, (down, up), has_alpha = TOOLS[tool]
    state: State = {}
    for path, factors in pairs.items():
        key = name(path, base)
        state[key + down], state[key + up] = (factor.clone() for factor in factors)
        if has_alpha:
            state[f"{key}.alpha"] = torch.tensor(ALPHA) if alpha is None else alpha.clone()
    return state


def expected_change(pairs: Pairs, scale: float) -> State:
    return {path: scale * (up.flatten(1).double() @ down.flatten(1).double()) for path, (down, up) in pairs.items()}


def assert_changes(path: Path, base: Base, expected: State, tolerance: float = 1e-6) -> None:
    adapter = load_adapter(path, base)
    assert adapter.weights.keys() == expected.keys()
    for layer, (down, up) in adapter.weights.items():
        ours = adapter.scale * (up.flatten(1).double() @ down.flatten(1).double())
        assert (ours - expected[layer].flatten(1)).abs().max() <= tolerance * expected[layer].abs().max(), layer


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("tool", TOOLS)
def test_each_tools_names_give_the_same_change(bases: dict[str, Base], tmp_path: Path, family: str, tool: str) -> None:
    base = bases[family]
    pairs = random_pairs(layers_of(base))
    save_file(written(pairs, base, tool), tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, ALPHA / RANK if TOOLS[tool][2] else 1.0))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_lycoris_wrapper_on_the_unet(bases: dict[str, Base], tmp_path: Path, family: str) -> None:
    """SimpleTuner: `lycoris_` and diffusers' path."""
    base = bases[family]
    pairs = random_pairs({path: shape for path, shape in layers_of(base).items() if path.startswith("unet.")})
    state: State = {}
    for path, (down, up) in pairs.items():
        key = "lycoris_" + path.removeprefix("unet.").replace(".", "_")
        state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    save_file(state, tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, ALPHA / RANK))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_what_diffusers_itself_converts_to_kohyas_format(bases: dict[str, Base], tmp_path: Path, family: str) -> None:
    """`lora_te1` on SD1 too, and alphas as int64."""
    base = bases[family]
    pairs = random_pairs({path: shape for path, shape in layers_of(base).items() if "attn" in path})
    peft = {f"{path}.lora_{letter}.weight": factor for path, pair in pairs.items() for letter, factor in zip("AB", pair, strict=True)}
    peft = {name.replace("text_encoder.encoder", "text_encoder.text_model.encoder"): factor for name, factor in peft.items()}
    state = convert_state_dict_to_kohya(peft)
    assert {value.dtype for name, value in state.items() if name.endswith(".alpha")} == {torch.int64}
    assert any(name.startswith("lora_te1_") for name in state)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, 1.0))


def test_attention_processors_of_text_encoders(bases: dict[str, Base], tmp_path: Path) -> None:
    """diffusers before 0.22: `self_attn.to_q_lora.down.weight`, `attn1.processor.to_out_lora.up.weight`."""
    base = bases["sd1"]
    pairs = random_pairs({path: shape for path, shape in layers_of(base).items() if "attn" in path and "proj_in" not in path
                          and "proj_out" not in path and ".ff." not in path})  # fmt: skip
    state: State = {}
    for path, (down, up) in pairs.items():
        where, _, name = path.replace("text_encoder.encoder", "text_encoder.text_model.encoder").rpartition(".")
        if path.startswith("unet."):
            where, name = (where.removesuffix(".to_out"), "to_out") if name == "0" else (where, name)
            where += ".processor"
        else:
            name = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}[name]
        state |= {f"{where}.{name}_lora.down.weight": down, f"{where}.{name}_lora.up.weight": up}
    save_file(state, tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, 1.0))


# --- types, alphas, ranks ---------------------------------------------------------------------------------------------------------

LAYERS = ("unet.conv_out", "unet.down_blocks.0.attentions.0.proj_in", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q")
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


def some_layers(base: Base) -> dict[str, tuple[int, ...]]:
    return {path: shape for path, shape in layers_of(base).items() if path in LAYERS}


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_of_factor(bases: dict[str, Base], tmp_path: Path, dtype: torch.dtype) -> None:
    base = bases["sd1"]
    stored = {path: (down.to(dtype), up.to(dtype)) for path, (down, up) in random_pairs(some_layers(base)).items()}
    save_file(written(stored, base, "OneTrainer OMI"), tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(stored, ALPHA / RANK))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [*TYPES, torch.int64, torch.int32, torch.int16, torch.uint8], ids=str)
def test_every_way_to_store_an_alpha(bases: dict[str, Base], tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    base = bases["sd1"]
    pairs = random_pairs(some_layers(base))
    alpha = torch.full(shape, 2.0).to(dtype)
    save_file(written(pairs, base, "OneTrainer OMI", alpha), tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, 2 / RANK))


@pytest.mark.parametrize("rank", [1, 5, 32, 33, 300])
@pytest.mark.parametrize("has_alpha", [True, False])
def test_a_rank_above_a_layers_own_size_is_factored_again(bases: dict[str, Base], tmp_path: Path, rank: int, has_alpha: bool) -> None:
    """conv_out has 4 channels out, the others are 32 wide: delta W stays, ranks end at the layer's own."""
    base = bases["sd1"]
    pairs = random_pairs(some_layers(base), rank)
    save_file(written(pairs, base, "OneTrainer COMFY" if has_alpha else "ComfyUI LoraSave"), tmp_path / "a.safetensors")
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, ALPHA / rank if has_alpha else 1.0))
    adapter = load_adapter(tmp_path / "a.safetensors", base)
    assert adapter.rank == min(rank, 32)
    assert len(adapter.weights["unet.conv_out"][0]) == min(rank, 4)


def test_a_point_over_a_larger_kernel_is_its_middle(bases: dict[str, Base], tmp_path: Path) -> None:
    """OneTrainer until 2024 put 1x1 pairs over 3x3 convolutions (Conv2dLoRAModule): against its forward, at stride 2 as well."""
    base = bases["sd1"]
    shapes = {path: shape for path, shape in layers_of(base).items() if len(shape) == 4 and shape[2:] == (3, 3)}
    pairs = random_pairs({path: (*shape[:2], 1, 1) for path, shape in shapes.items()})
    save_file(written(pairs, base, "OneTrainer OMI"), tmp_path / "a.safetensors")
    adapter = load_adapter(tmp_path / "a.safetensors", base)
    assert adapter.weights.keys() == shapes.keys()
    strides = set()
    for path, (down, up) in pairs.items():
        layer = base.unet.get_submodule(path.removeprefix("unet."))
        x = torch.randn(1, layer.in_channels, 8, 8, generator=torch.Generator().manual_seed(1))
        point = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, down, stride=layer.stride), up) * ALPHA / RANK
        with torch.no_grad():
            theirs = layer(x) + point
            with AdapterStack(base, [adapter]).attached():
                assert (layer(x) - theirs).abs().max() < 1e-5, path
        strides.add(layer.stride)
    assert strides == {(1, 1), (2, 2)}


def test_a_file_of_every_layer_is_drawn_as_merged_weights_are(bases: dict[str, Base], tmp_path: Path) -> None:
    base = bases["sdxl"]
    pairs = random_pairs({path: shape for path, shape in layers_of(base).items() if path.startswith("unet.")}, rank=16)
    save_file(written(pairs, base, "OneTrainer COMFY"), tmp_path / "a.safetensors")
    adapter = load_adapter(tmp_path / "a.safetensors", base)
    latents = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(1, 78, 128, generator=torch.Generator().manual_seed(1))
    weights = {path: base.unet.get_submodule(path.removeprefix("unet.")).weight for path in pairs}
    before = {path: weight.detach().clone() for path, weight in weights.items()}
    with torch.no_grad():
        plain = predict(base, latents, torch.tensor([500]), rows)
        with AdapterStack(base, [adapter]).attached():
            ours = predict(base, latents, torch.tensor([500]), rows)
        try:
            for path, change in expected_change(pairs, ALPHA / 16).items():
                weights[path] += change.reshape(weights[path].shape).float()
            merged = predict(base, latents, torch.tensor([500]), rows)
        finally:
            for path, weight in weights.items():
                weight.copy_(before[path])
    assert (ours - merged).abs().max() < 1e-4
    assert (ours - plain).abs().max() > 1e-2


# --- configurations and doubles ------------------------------------------------------------------------------------------------------


def test_one_layer_under_the_names_of_two_tools_is_refused(bases: dict[str, Base], tmp_path: Path) -> None:
    base = bases["sd1"]
    pairs = random_pairs(some_layers(base))
    state = written(pairs, base, "OneTrainer OMI") | written(pairs, base, "OneTrainer COMFY")
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(LabError, match="two tensors for the same factor"):
        load_adapter(tmp_path / "a.safetensors", base)


def test_peft_files_with_an_adapters_name_keep_their_alpha(bases: dict[str, Base], tmp_path: Path) -> None:
    base = bases["sd1"]
    pairs = random_pairs(some_layers(base))
    state = {
        f"base_model.model.{path.removeprefix('unet.')}.lora_{letter}.default.weight": factor
        for path, pair in pairs.items()
        for letter, factor in zip("AB", pair, strict=True)
    }
    save_file(state, tmp_path / "adapter_model.safetensors")
    settings: dict[str, Any] = {"peft_type": "LORA", "lora_alpha": 6, "r": RANK, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert_changes(tmp_path / "adapter_model.safetensors", base, expected_change(pairs, 6 / math.sqrt(RANK)))

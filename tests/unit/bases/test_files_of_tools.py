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
from loralab.bases import Base, load_base, predict
from loralab.errors import LabError
from loralab.spec import LoadSpec

pytestmark = pytest.mark.usefixtures("one_thread")
State = dict[str, torch.Tensor]
Pairs = dict[str, tuple[torch.Tensor, torch.Tensor]]
RANK, ALPHA = 4, 3.0


@pytest.fixture(scope="module")
def bases(small: dict[str, tuple[Path, Path]]) -> dict[str, Base]:
    return {family: load_base(str(small[family][0]), LoadSpec(size_px=64)) for family in ("sd1", "sdxl")}


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


# --- what is no LoRA for this base ---------------------------------------------------------------------------------------------------


def message(path: Path, base: Base) -> str:
    with pytest.raises(LabError) as raised:
        load_adapter(path, base)
    assert raised.value.kind == "model"
    return str(raised.value)


def lora(path: Path, keys: dict[str, tuple[int, int]], **metadata: str) -> Path:
    """Write LoRA pairs for layers of the given (out, in), in kohya's endings where the keys are flat, PEFT's otherwise."""
    state: State = {}
    for key, (n_out, n_in) in keys.items():
        down, up = DOWN_UP if key.startswith("lora_") else A_B
        state[key + down], state[key + up] = torch.zeros(2, n_in), torch.zeros(n_out, 2)
    save_file(state, path, metadata=metadata or None)
    return path


#: layers of other families as their trainers write them -> what the error calls them
OTHERS: dict[str, tuple[dict[str, tuple[int, int]], str]] = {
    "sdxl, kohya": ({"lora_unet_input_blocks_4_1_transformer_blocks_9_attn1_to_q": (640, 640)}, "SDXL"),
    "sdxl, diffusers": ({"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (640, 2048)}, "SDXL"),
    "sdxl, text": ({"lora_te2_text_model_encoder_layers_0_mlp_fc1": (5120, 1280)}, "SDXL"),
    "sd2": ({"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (320, 1024)}, "Stable Diffusion 2"),
    "sd2, text": ({"lora_te_text_model_encoder_layers_22_mlp_fc1": (4096, 1024)}, "Stable Diffusion 2"),
    "flux, kohya": ({"lora_unet_double_blocks_0_img_attn_proj": (3072, 3072)}, "FLUX.1"),
    "flux, diffusers": ({"transformer.single_transformer_blocks.0.attn.to_q": (3072, 3072)}, "FLUX.1"),
    "flux, comfy": ({"diffusion_model.double_blocks.0.img_attn.proj": (3072, 3072)}, "FLUX.1"),
    "flux2": ({"diffusion_model.double_blocks.0.img_attn.proj": (6144, 6144)}, "FLUX.2"),
    "sd3, kohya": ({"lora_unet_joint_blocks_0_x_block_attn_proj": (1536, 1536)}, "Stable Diffusion 3"),
    "sd3, diffusers": ({"transformer.transformer_blocks.0.attn.to_q": (1536, 1536)}, "Stable Diffusion 3"),
    "wan": ({"diffusion_model.blocks.0.cross_attn.k": (5120, 5120)}, "Wan"),
    "wan, kohya": ({"lora_unet_blocks_0_self_attn_q": (5120, 5120)}, "Wan"),
    "wan, diffusers": ({"transformer.blocks.0.attn1.to_q": (5120, 5120)}, "Wan"),
    "z-image": ({"diffusion_model.layers.0.attention.to_q": (3840, 3840)}, "Z-Image"),
    "z-image, kohya": ({"lora_unet_layers_0_attention_qkv": (11520, 3840)}, "Z-Image"),
    "lumina 2": ({"lora_unet_layers_0_attention_qkv": (3840, 2304), "lora_unet_noise_refiner_0_attention_out": (2304, 2304)}, "Lumina 2"),
    "qwen": ({"transformer.transformer_blocks.0.img_mlp.net.0.proj": (12288, 3072)}, "Qwen-Image"),
    "qwen, kohya": ({"lora_unet_transformer_blocks_0_txt_mod_1": (18432, 3072)}, "Qwen-Image"),
    "anima": ({"lora_unet_blocks_0_cross_attn_q_proj": (2048, 2048)}, "Anima"),
    "krea 2": ({"diffusion_model.blocks.0.attn.wq": (6144, 6144)}, "Krea 2"),
    "hunyuan video": ({"lora_unet_double_blocks_0_img_mlp_fc1": (12288, 3072)}, "Hunyuan Video"),
    "auraflow": ({"lora_unet_double_layers_0_attn_w1q": (3072, 3072)}, "AuraFlow"),
    "chroma": ({"diffusion_model.distilled_guidance_layer.in_proj": (5120, 64)}, "Chroma"),
    "hidream": ({"diffusion_model.double_stream_blocks.0.block.attn1.to_q": (2560, 2560)}, "HiDream"),
    "cascade": ({"lora_prior_unet_down_blocks_0_1_attention_attn_in_proj": (9, 9)}, "Stable Cascade"),
    "animatediff": ({"down_blocks.0.motion_modules.0.temporal_transformer.proj_in": (320, 320)}, "AnimateDiff"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_family_is_called_by_its_name(bases: dict[str, Base], tmp_path: Path, name: str) -> None:
    keys, what = OTHERS[name]
    text = message(lora(tmp_path / "a.safetensors", keys), bases["sd1"])
    assert text.splitlines()[0].startswith(f"a.safetensors is a LoRA of {what}") or what in text.splitlines()[0].partition(":")[0]
    assert next(iter(keys)) in text
    assert "a LoRA of Stable Diffusion 1, as the base is" in text


@pytest.mark.parametrize(
    ("metadata", "what"),
    [
        ({"ss_base_model_version": "flux1"}, "FLUX.1"),
        ({"modelspec.architecture": "Z-Image"}, "Z-Image"),
        ({"ss_network_module": "networks.lora_qwen_image"}, "Qwen-Image"),
        ({"modelspec.architecture": "stable-diffusion-3-medium/lora"}, "Stable Diffusion 3"),
        ({"ss_base_model_version": "wan2.1_14b"}, "Wan"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"ss_base_model_version": "sd_v2_768_v"}, "Stable Diffusion 2"),
        ({"modelspec.architecture": "flux-2-dev/lora"}, "FLUX.2"),
    ],
)
def test_metadata_tell_where_names_do_not(bases: dict[str, Base], tmp_path: Path, metadata: dict[str, str], what: str) -> None:
    path = lora(tmp_path / "a.safetensors", {"lora_unet_unheard_of_layer": (8, 8)}, **metadata)
    assert f"is a LoRA of {what}: " in message(path, bases["sd1"])


def test_metadata_alone_refuse_nothing(bases: dict[str, Base], tmp_path: Path) -> None:
    """A file that fits is read whatever it says of itself: merges and converters copy metadata along."""
    base = bases["sd1"]
    pairs = random_pairs(some_layers(base))
    save_file(written(pairs, base, "OneTrainer OMI"), tmp_path / "a.safetensors", metadata={"ss_base_model_version": "flux1"})
    assert_changes(tmp_path / "a.safetensors", base, expected_change(pairs, ALPHA / RANK))


def test_a_sd1_file_on_sdxl_is_told_by_its_width(bases: dict[str, Base], tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", {"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": (640, 768)})
    text = message(path, bases["sdxl"])
    assert "is a LoRA of Stable Diffusion 1: " in text
    assert "a LoRA of SDXL, as the base is" in text


NO_LORA: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "a checkpoint": ({"model.diffusion_model.out.2.bias": (4,), "first_stage_model.quant_conv.bias": (8,)}, "a whole checkpoint"),
    "a diffusers unet": ({"conv_in.weight": (320, 4, 3, 3), "conv_in.bias": (320,)}, "a whole U-Net"),
    "an embedding of SD1": ({"emb_params": (4, 768)}, "an embedding (textual inversion)"),
    "an embedding of SDXL": ({"clip_g": (4, 1280), "clip_l": (4, 768)}, "an embedding (textual inversion)"),
    "an embedding of diffusers": ({"<mychar>": (768,)}, "an embedding (textual inversion)"),
    "a ControlNet": ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "a ControlNet"),
    "an IP-Adapter": ({"image_proj.proj.weight": (8, 8)}, "an IP-Adapter"),
    "cloneofsimo's numbers": ({"unet:0:up": (8, 4), "unet:0:down": (4, 8)}, "numbers in place of names"),
}


@pytest.mark.parametrize("name", NO_LORA)
def test_what_is_no_lora_is_called_by_its_name(bases: dict[str, Base], tmp_path: Path, name: str) -> None:
    shapes, what = NO_LORA[name]
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "a.safetensors")
    assert what in message(tmp_path / "a.safetensors", bases["sd1"])


def test_bundled_embeddings_are_named_with_their_words(bases: dict[str, Base], tmp_path: Path) -> None:
    """OneTrainer's `bundle additional embeddings`: bundle_emb.WORD.clip_l, and bundle_emb.WORD.string_to_param.* on SD1."""
    base = bases["sd1"]
    state = written(random_pairs(some_layers(base)), base, "OneTrainer OMI")
    save_file(state | {"bundle_emb.mychar.string_to_param.*": torch.zeros(2, 64)}, tmp_path / "a.safetensors")
    text = message(tmp_path / "a.safetensors", base)
    assert "carries embeddings (textual inversions) for mychar: 1 tensors: bundle_emb.mychar.string_to_param.*" in text
    assert "bundle additional embeddings" in text


def test_one_layer_under_the_names_of_two_tools_is_refused(bases: dict[str, Base], tmp_path: Path) -> None:
    base = bases["sd1"]
    pairs = random_pairs(some_layers(base))
    state = written(pairs, base, "OneTrainer OMI") | written(pairs, base, "OneTrainer COMFY")
    save_file(state, tmp_path / "a.safetensors")
    assert "two tensors for one factor" in message(tmp_path / "a.safetensors", base)


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

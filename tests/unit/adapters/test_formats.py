"""Files of other tools: each changes the weights as the tool itself says, or is refused by the name of what it holds."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loralab.adapters import load_adapter
from loralab.adapters.layers import all_layers, spellings
from loralab.bases.unet_names import old_names
from loralab.errors import LabError

pytestmark = pytest.mark.usefixtures("one_thread")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "adapters"
#: file -> (what the tool says it changes, how many layers)
READ = {
    "kohya-lora.safetensors": ("kohya-lora.merged.safetensors", 29),
    "lycoris-locon.safetensors": ("lycoris-locon.merged.safetensors", 11),
    "lycoris-loha.safetensors": ("lycoris-loha.merged.safetensors", 11),
    "lycoris-loha-alpha.safetensors": ("lycoris-loha-alpha.forward.safetensors", 2),
    "peft-unet/adapter_model.safetensors": ("peft-unet/merged.safetensors", 13),
    "peft-unet-rslora/adapter_model.safetensors": ("peft-unet-rslora/merged.safetensors", 4),
    "peft-text/adapter_model.safetensors": ("peft-text/merged.safetensors", 3),
    "peft-loha/adapter_model.safetensors": ("peft-loha/merged.safetensors", 3),
    "diffusers.safetensors": ("diffusers.merged.safetensors", 12),
    "diffusers-alpha.safetensors": ("diffusers-alpha.merged.safetensors", 4),
}


@pytest.mark.parametrize("name", READ)
def test_a_file_changes_the_weights_as_its_own_tool_does(other_tools_base, change_of, name):
    merged, n_layers = READ[name]
    expected = load_file(FIXTURES / merged)
    ours = change_of(load_adapter(FIXTURES / name, other_tools_base))
    assert ours.keys() == expected.keys()
    assert len(expected) == n_layers
    for path, change in expected.items():
        assert ours[path].shape == change.shape
        # measured 1.3e-7 at most, over changes of up to 1.3: the tools multiply in float32
        assert (ours[path] - change).abs().max() < 5e-7, path
        assert change.abs().max() > 1e-3


def test_the_fixtures_stay_small():
    assert sum(file.stat().st_size for file in FIXTURES.rglob("*") if file.is_file()) < 200_000


# --- names ----------------------------------------------------------------------------------------------------------------------


def sdxl_unet() -> UNet2DConditionModel:
    """Return SDXL's UNet without memory for its weights (the published unet/config.json)."""
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20), cross_attention_dim=2048, use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip


def test_kohyas_names_of_sdxl_lead_each_to_a_layer_of_its_own_of_the_right_shape(bare_base):
    """788 names of the UNet as kohya's own code writes them, in the layout of the first Stable Diffusion code."""
    base = bare_base(sdxl_unet())
    rows = [line.split() for line in gzip.decompress((FIXTURES / "kohya-sdxl-names.txt.gz").read_bytes()).decode().splitlines()]
    names, layers = spellings(base), all_layers(base)
    found = {}
    for name, n_out, inside in rows:
        if name.startswith("lora_unet_"):
            found[name] = names[name]
            assert list(layers[names[name]].weight.shape) == [int(n_out), *json.loads(inside)], name
    assert len(found) == len(set(found.values())) == 788


def test_old_names_reach_every_layer_of_sd1(bare_base):
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    base = bare_base(unet)
    old = old_names(unet)
    assert all_layers(base).keys() <= old.keys()
    assert len(set(old.values())) == len(old)
    # from the published v1-inference checkpoint: model.diffusion_model.<name>.weight
    assert old["unet.down_blocks.2.downsamplers.0.conv"] == "input_blocks.9.0.op"
    assert old["unet.up_blocks.0.upsamplers.0.conv"] == "output_blocks.2.1.conv"
    assert old["unet.up_blocks.1.upsamplers.0.conv"] == "output_blocks.5.2.conv"
    assert old["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"] == "middle_block.1.transformer_blocks.0.attn2.to_k"
    assert old["unet.up_blocks.3.resnets.2.conv_shortcut"] == "output_blocks.11.0.skip_connection"


def renamed(source: Path, target: Path, replacements: list[tuple[str, str]]) -> Path:
    """Copy a file with its tensors under other names."""
    tensors = load_file(source)
    for old, new in replacements:
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    save_file(tensors, target)
    return target


OTHER_SPELLINGS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "attention processors, before diffusers 0.22": (
        "diffusers.safetensors",
        [
            ("to_out.0.lora.", "processor.to_out_lora."), (".lora.", "_lora."), ("attn1.to_", "attn1.processor.to_"),
            ("attn2.to_", "attn2.processor.to_"), ("unet.", ""),
        ],
    ),
    "text_model in diffusers' format": ("diffusers.safetensors", [("text_encoder.", "text_encoder.text_model.")]),
    "kohya's code under transformers 5": ("kohya-lora.safetensors", [("lora_te_text_model_", "lora_te_")]),
    "the first Stable Diffusion code's layout": (
        "lycoris-locon.safetensors",
        [
            ("down_blocks_0_attentions_0", "input_blocks_1_1"), ("down_blocks_0_resnets_0_conv1", "input_blocks_1_0_in_layers_2"),
            ("up_blocks_0_resnets_0_conv_shortcut", "output_blocks_0_0_skip_connection"), ("unet_conv_in", "unet_input_blocks_0_0"),
            ("time_embedding_linear_1", "time_embed_0"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS)
def test_other_spellings_of_the_same_tensors_give_the_same_adapter(tmp_path, other_tools_base, change_of, spelling):
    name, replacements = OTHER_SPELLINGS[spelling]
    file = renamed(FIXTURES / name, tmp_path / "other.safetensors", replacements)
    assert load_file(file).keys() != load_file(FIXTURES / name).keys()
    ours, expected = (change_of(load_adapter(path, other_tools_base)) for path in (file, FIXTURES / name))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[path], expected[path]) for path in expected)


def test_one_layer_under_two_spellings_is_refused(tmp_path, other_tools_base):
    tensors = load_file(FIXTURES / "kohya-lora.safetensors")
    key = "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"
    save_file(tensors | {key.replace("text_model_", ""): tensors[key].clone()}, tmp_path / "twice.safetensors")
    with pytest.raises(LabError, match="two tensors for the same factor"):
        load_adapter(tmp_path / "twice.safetensors", other_tools_base)


def test_a_linear_layer_may_be_written_as_a_pointwise_convolution_and_the_other_way_round(tmp_path, other_tools_base, change_of):
    source = FIXTURES / "lycoris-locon.safetensors"
    swapped = {name: swap(value) for name, value in load_file(source).items()}
    assert {swapped[name].ndim - value.ndim for name, value in load_file(source).items()} == {-2, 0, 2}
    save_file(swapped, tmp_path / "swapped.safetensors")
    ours, expected = (change_of(load_adapter(path, other_tools_base)) for path in (tmp_path / "swapped.safetensors", source))
    assert all(torch.equal(ours[path], expected[path]) for path in expected)


def swap(factor: torch.Tensor) -> torch.Tensor:
    """Return a linear layer's factor as that of a 1x1 convolution, or the other way round; anything else as it is."""
    if factor.ndim == 2:
        return factor[:, :, None, None].contiguous()
    return factor.flatten(1) if factor.shape[2:] == (1, 1) else factor


# --- LoHa -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "expected_rank"), [((1, 1), 1), ((2, 3), 6), ((2, 4), 8), ((3, 3), 8), ((8, 8), 8)])
def test_a_loha_becomes_the_lora_that_equals_it(tmp_path, other_tools_base, change_of, ranks, expected_rank):
    """Of rank r1 * r2; where the layer (8 x 8) cannot have that rank, of its full rank."""
    generator = torch.Generator().manual_seed(0)
    (r1, r2), key = ranks, "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    shapes = {"hada_w1_a": (8, r1), "hada_w1_b": (r1, 8), "hada_w2_a": (8, r2), "hada_w2_b": (r2, 8)}
    w = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file({f"{key}.{name}": value for name, value in w.items()} | {f"{key}.alpha": torch.tensor(1.5)}, tmp_path / "loha.safetensors")
    adapter = load_adapter(tmp_path / "loha.safetensors", other_tools_base)
    d = {name: value.double() for name, value in w.items()}
    expected = 1.5 / r1 * (d["hada_w1_a"] @ d["hada_w1_b"]) * (d["hada_w2_a"] @ d["hada_w2_b"])
    (ours,) = change_of(adapter).values()
    assert adapter.rank == expected_rank
    assert (ours - expected).abs().max() < 1e-6 * expected.abs().max()


# --- PEFT's configuration -------------------------------------------------------------------------------------------------------


@pytest.fixture
def peft_folder(tmp_path) -> Path:
    """A copy of peft-unet that a test may change."""
    shutil.copytree(FIXTURES / "peft-unet", tmp_path / "peft")
    return tmp_path / "peft"


def peft_error(folder: Path, base, **changes) -> str:
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    with pytest.raises(LabError) as raised:
        load_adapter(folder / "adapter_model.safetensors", base)
    assert raised.value.kind == "model"
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peft_type": "LOKR"}, "peft_type: LOKR"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: pissa"),
        ({"bias": "all"}, "bias: all"),
        ({"lora_alpha": None}, "an alpha of None"),
        ({"lora_alpha": -1}, "an alpha of -1"),
        ({"lora_alpha": True}, "an alpha of True"),
        ({"lora_alpha": 1e30}, "an alpha of 1e+30"),
        ({"alpha_pattern": [1]}, "an alpha of"),
        ({"alpha_pattern": {"(a+)+$": 1.0}}, "regular expression"),
    ],
)
def test_a_configuration_that_is_no_plain_lora_is_refused(peft_folder, other_tools_base, changes, says):
    assert says in peft_error(peft_folder, other_tools_base, **changes)


def test_a_peft_file_without_its_configuration_is_refused(peft_folder, other_tools_base):
    (peft_folder / "adapter_config.json").unlink()
    with pytest.raises(LabError, match=r"no adapter_config\.json"):
        load_adapter(peft_folder / "adapter_model.safetensors", other_tools_base)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "cannot be read"),
        (b"[]", "not contain a JSON object"),
        (b"\xff", "not a text file"),
        (b"[" * 100_000, "cannot be read"),
        (b" " * (2 << 20), "bytes"),
    ],
)
def test_a_hostile_configuration(peft_folder, other_tools_base, content, says):
    (peft_folder / "adapter_config.json").write_bytes(content)
    with pytest.raises(LabError, match=says):
        load_adapter(peft_folder / "adapter_model.safetensors", other_tools_base)


def test_hostile_metadata_of_diffusers(tmp_path, other_tools_base):
    source = FIXTURES / "diffusers-alpha.safetensors"
    with safe_open(source, "pt") as file:
        told = json.loads(file.metadata()["lora_adapter_metadata"])
    for changed, says in [("{", "cannot be read"), ("3", "a JSON object"), (json.dumps(told | {"unet.lora_alpha": "x"}), "alpha of x")]:
        save_file(load_file(source), tmp_path / "a.safetensors", metadata={"lora_adapter_metadata": changed})
        with pytest.raises(LabError, match=says):
            load_adapter(tmp_path / "a.safetensors", other_tools_base)

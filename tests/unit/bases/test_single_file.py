"""One-file checkpoints of both families: the same base as from the folder; and everything that is no base of them, refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from loralab.bases import decode_latents, embed_prompts, encode_images, load_base, predict
from loralab.bases.checkpoint import configs_of, family_of
from loralab.bases.header import Header, read_header
from loralab.bases.ldm_config import schedule_config
from loralab.bases.tokens import make_clip_tokenizer
from loralab.errors import LabError
from loralab.spec import LoadSpec

Small = dict[str, tuple[Path, Path]]
SIZE = LoadSpec(size_px=64)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_folder_and_single_file_are_the_same_base(small: Small, family: str) -> None:
    folder, file = (load_base(str(place), SIZE) for place in small[family])
    assert (folder.family, file.family) == (family, family)
    assert folder.latent_shape == file.latent_shape == (4, 32, 32)
    texts = [embed_prompts(base, ["a photo of a cat", ""]) for base in (folder, file)]
    assert texts[0].shape == (2, 77 if family == "sd1" else 78, 64 if family == "sd1" else 128)
    assert (texts[0] - texts[1]).abs().max() <= 1e-5
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        predictions = [predict(base, latents, torch.tensor([3, 800]), texts[0]) for base in (folder, file)]
    assert predictions[0].std() > 0.01
    assert (predictions[0] - predictions[1]).abs().max() <= 1e-5
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoded = [encode_images(base, images) for base in (folder, file)]
    assert (encoded[0] - encoded[1]).abs().max() <= 1e-5
    decoded = [decode_latents(base, encoded[0]).astype(int) for base in (folder, file)]
    assert np.abs(decoded[0] - decoded[1]).max() <= 1
    for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "prediction_type", "rescale_betas_zero_snr"):
        assert file.scheduler_config[key] == folder.scheduler_config[key], key


def test_the_tokenizer_that_ships_gives_clips_numbers() -> None:
    """The numbers of "a photo of a cat" stand in CLIP's own documentation and in many tests of other projects."""
    assert make_clip_tokenizer()("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = make_clip_tokenizer(pad="!")("hello", padding="max_length", max_length=6).input_ids
    assert padded == [49406, 3306, 49407, 0, 0, 0]


def changed(
    small: Small, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], family: str = "sd1", **metadata: str
) -> Path:
    """A copy of the small checkpoint after ``change``."""
    state = load_file(small[family][1])
    change(state)
    save_file(state, tmp_path / "changed.safetensors", metadata=metadata or None)
    return tmp_path / "changed.safetensors"


def message(path: Path, **load: object) -> str:
    with pytest.raises(LabError) as raised:
        load_base(str(path), LoadSpec(**load))
    assert raised.value.kind == "model"
    return str(raised.value)


# --- prediction ---------------------------------------------------------------------------------------------------------


def header_of(shapes: dict[str, tuple[int, ...]] | None = None, **metadata: str) -> Header:
    return Header(shapes or {}, dict.fromkeys(shapes or {}, "F32"), metadata)


@pytest.mark.parametrize(
    ("header", "prediction", "zero"),
    [
        (header_of(), "epsilon", False),
        (header_of({"v_pred": (0,)}), "v_prediction", False),
        (header_of({"v_pred": (0,), "ztsnr": (0,)}), "v_prediction", True),
        (header_of(**{"modelspec.prediction_type": "v"}), "v_prediction", False),
        (header_of(**{"modelspec.prediction_type": "epsilon"}), "epsilon", False),
    ],
)
def test_what_a_checkpoint_says_it_predicts(header: Header, prediction: str, zero: bool) -> None:
    config = schedule_config(header)
    assert (config["prediction_type"], config["rescale_betas_zero_snr"]) == (prediction, zero)


def test_a_marked_checkpoint_loads_and_a_study_may_overrule_it(small: Small, tmp_path: Path) -> None:
    def mark(state: dict[str, torch.Tensor]) -> None:
        state |= {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}

    path = changed(small, tmp_path, mark, "sdxl")
    marked = load_base(str(path), SIZE)
    assert (marked.scheduler_config["prediction_type"], marked.scheduler_config["rescale_betas_zero_snr"]) == ("v_prediction", True)
    plain = load_base(str(path), LoadSpec(size_px=64, prediction="epsilon", zero_terminal_snr=False))
    assert plain.scheduler_config["prediction_type"] == "epsilon"
    assert plain.fingerprint != marked.fingerprint
    assert "zero terminal SNR" in message(path, prediction="epsilon")


# --- real layouts -------------------------------------------------------------------------------------------------------

#: what the published configurations say (runwayml/stable-diffusion-v1-5, stabilityai/stable-diffusion-xl-base-1.0)
PUBLISHED = {
    "sd1": {
        "unet": {
            "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 768,
            "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"], "attention_head_dim": 8, "use_linear_projection": False,
        },
        "vae": {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "scaling_factor": 0.18215, "latent_channels": 4},
        "text_encoder": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    },
    "sdxl": {
        "unet": {
            "sample_size": 128, "block_out_channels": [320, 640, 1280], "layers_per_block": 2, "cross_attention_dim": 2048,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "attention_head_dim": [5, 10, 20],
            "transformer_layers_per_block": [1, 2, 10], "projection_class_embeddings_input_dim": 2816, "use_linear_projection": True,
        },
        "vae": {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "scaling_factor": 0.13025},
        "text_encoder": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"},
        "text_encoder_2": {
            "hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "intermediate_size": 5120, "projection_dim": 1280,
            "hidden_act": "gelu",
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_configuration_of_a_checkpoint_of_full_size_is_the_published_one(family: str) -> None:
    """Shapes alone (the meta device): widths and depths come out of the header as the published configurations have them."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from ldm import checkpoint_state
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    published = PUBLISHED[family]
    ups = [kind.replace("Down", "Up") for kind in reversed(published["unet"]["down_block_types"])]
    extra = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256} if family == "sdxl" else {}
    vae_blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel(**published["unet"], up_block_types=ups, **extra),
            "vae": AutoencoderKL(**published["vae"], **vae_blocks),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**published["text_encoder"])),
        }
        if family == "sdxl":
            parts["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**published["text_encoder_2"]))
        state = checkpoint_state(parts, family)
    header = header_of({key: tuple(value.shape) for key, value in state.items()})
    assert family_of("full.safetensors", header) == family
    found = configs_of("full.safetensors", header, family)
    assert found.keys() == published.keys()
    for part, config in published.items():
        assert {key: found[part][key] for key in config} == config
    assert found["unet"]["up_block_types"] == ups


def test_the_older_names_of_a_text_encoder_are_known(small: Small, tmp_path: Path) -> None:
    """Merges from 2022 lack `text_model.` in them."""

    def rename(state: dict[str, torch.Tensor]) -> None:
        for key in [key for key in state if key.startswith("cond_stage_model.")]:
            state[key.replace(".text_model.", ".")] = state.pop(key)

    old = load_base(str(changed(small, tmp_path, rename)), SIZE)
    new = load_base(str(small["sd1"][1]), SIZE)
    assert torch.equal(embed_prompts(old, ["cat"]), embed_prompts(new, ["cat"]))


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["cond_stage_model.model.token_embedding.weight", "model.diffusion_model.input_blocks.0.0.weight"], "Stable Diffusion 2"),
        (["conditioner.embedders.0.model.text_projection", "model.diffusion_model.input_blocks.0.0.weight"], "the refiner of SDXL"),
        (["model.diffusion_model.joint_blocks.0.x_block.mlp.fc1.weight"], "Stable Diffusion 3"),
        (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "FLUX.1"),
        (["transformer_blocks.0.attn.to_q.weight"], "a transformer (DiT)"),
        (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], "a LoRA"),
        (
            ["conv_in.weight", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"],
            "only a UNet (with diffusers' names)",
        ),
        (["unet.conv_in.weight"], "only a UNet (with diffusers' names)"),
        (["diffusion_model.input_blocks.0.0.weight", "diffusion_model.middle_block.1.transformer_blocks.0.norm1.weight"], "a UNet"),
        (["input_blocks.0.0.weight", "middle_block.1.transformer_blocks.0.norm1.weight"], "only a UNet (with the original names)"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "only a VAE"),
        (["first_stage_model.encoder.conv_in.weight"], "only a VAE"),
        (["text_model.embeddings.token_embedding.weight"], "only a text encoder (CLIP)"),
        (["anything.else"], "not a kind of checkpoint"),
    ],
)
def test_what_is_no_base_is_called_by_its_name(tmp_path: Path, names: list[str], what: str) -> None:
    save_file({name: torch.zeros(8, 4, 3, 3) for name in names}, tmp_path / "x.safetensors")
    text = message(tmp_path / "x.safetensors")
    assert what in text
    assert "SD1 or SDXL" in text


def test_inpainting_is_refused_by_its_channels(small: Small, tmp_path: Path) -> None:
    name = "model.diffusion_model.input_blocks.0.0.weight"
    text = message(changed(small, tmp_path, lambda state: state.update({name: torch.zeros(32, 9, 3, 3)})))
    assert "an inpainting model" in text
    assert "9 channels" in text


@pytest.mark.parametrize(("start", "what"), [("first_stage_model.", "no VAE"), ("cond_stage_model.", "no text encoder")])
def test_a_checkpoint_without_a_part_says_which(small: Small, tmp_path: Path, start: str, what: str) -> None:
    def drop(state: dict[str, torch.Tensor]) -> None:
        for key in [key for key in state if key.startswith(start)]:
            del state[key]

    assert what in message(changed(small, tmp_path, drop))


def test_missing_strange_and_misshapen_weights_are_errors(small: Small, tmp_path: Path) -> None:
    bias = "model.diffusion_model.input_blocks.1.0.in_layers.2.bias"
    lacking = message(changed(small, tmp_path, lambda state: state.pop(bias)))
    assert "1 weights of the unet are missing from changed.safetensors: down_blocks.0.resnets.0.conv1.bias" in lacking
    assert "has shape [3], not [32]" in message(changed(small, tmp_path, lambda state: state.update({bias: torch.zeros(3)})))
    extra = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.extra.weight"
    assert "belong nowhere" in message(changed(small, tmp_path, lambda state: state.update({extra: torch.zeros(3)})))


def test_eight_bit_weights_are_refused(small: Small, tmp_path: Path) -> None:
    name = "model.diffusion_model.out.2.weight"
    path = changed(small, tmp_path, lambda state: state.update({name: state[name].to(torch.float8_e4m3fn)}))
    assert "stored as F8_E4M3" in message(path)


def test_a_pickle_under_a_safe_name_is_never_opened(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "model.safetensors")
    assert "pickle" in message(tmp_path / "model.safetensors")


def written(path: Path, header: object, data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(
    ("header", "data", "why"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234", "beyond the end of the file"),
        ({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"1234", "beyond the end of the file"),
        ({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"}, b"1234", "overlap or leave gaps"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"12345678", "overlap or leave gaps"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234", "whole numbers"),
        ([], b"", "cannot be read"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: object, data: bytes, why: str) -> None:
    with pytest.raises(LabError, match=why):
        read_header(written(tmp_path / "x.safetensors", header, data))


def test_a_header_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes((1 << 50).to_bytes(8, "little") + b"{}")
    with pytest.raises(LabError, match="would be 1125899906842624 bytes long"):
        read_header(tmp_path / "x.safetensors")


# --- names that tools have written otherwise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", ["state_dict.", "module."])
def test_a_checkpoint_whose_names_are_wrapped_is_read(small: Small, tmp_path: Path, wrapper: str) -> None:
    save_file({wrapper + key: value for key, value in load_file(small["sd1"][1]).items()}, tmp_path / "wrapped.safetensors")
    wrapped, plain = (load_base(str(path), SIZE) for path in (tmp_path / "wrapped.safetensors", small["sd1"][1]))
    assert all(torch.equal(value, plain.unet.state_dict()[key]) for key, value in wrapped.unet.state_dict().items())
    assert wrapped.fingerprint != plain.fingerprint  # of another file


@pytest.mark.parametrize(
    "names",
    [
        {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"},
        {"q": "query", "k": "key", "v": "value", "proj_out": "proj_attn", "norm": "group_norm"},
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_a_vaes_attention_may_have_diffusers_names(small: Small, tmp_path: Path, names: dict[str, str], flat: bool) -> None:
    """Linear layers (flat) or 1x1 convolutions, under diffusers' names of today or before 0.19."""

    def rename(state: dict[str, torch.Tensor]) -> None:
        for key in [key for key in state if key.startswith("first_stage_model.") and ".attn_1." in key]:
            before, _, name = key.partition(".attn_1.")
            layer, _, end = name.partition(".")
            value = state.pop(key)
            state[f"{before}.attn_1.{names.get(layer, layer)}.{end}"] = value.flatten(1) if flat and value.ndim == 4 else value

    changed_vae = load_base(str(changed(small, tmp_path, rename)), SIZE).vae.state_dict()
    plain = load_base(str(small["sd1"][1]), SIZE).vae.state_dict()
    assert all(torch.equal(value, plain[key]) for key, value in changed_vae.items())


def test_the_projection_of_sdxls_second_encoder(small: Small, tmp_path: Path) -> None:
    name = "conditioner.embedders.1.model.text_projection"
    text = message(changed(small, tmp_path, lambda state: state.pop(name), "sdxl"))
    assert "text_projection is missing from the text_encoder_2" in text
    path = changed(small, tmp_path, lambda state: state.update({f"{name}.weight": state.pop(name).T.contiguous()}), "sdxl")
    ours, plain = (load_base(str(place), SIZE).text_encoder_2.text_projection.weight for place in (path, small["sdxl"][1]))
    assert torch.equal(ours, plain)

"""Files that are no LoRA for the base: each is called by its name, told by its tensors or by its metadata."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loralab.adapters import load_adapter
from loralab.bases import Base
from loralab.errors import LabError

State = dict[str, torch.Tensor]
DOWN_UP, A_B = (".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")


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
    assert text.splitlines()[0].startswith(f"a.safetensors is a LoRA for {what}") or what in text.splitlines()[0].partition(":")[0]
    assert next(iter(keys)) in text
    assert "a LoRA for Stable Diffusion 1, like the base" in text


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
    assert f"is a LoRA for {what}: " in message(path, bases["sd1"])


def test_metadata_alone_refuse_nothing(bases: dict[str, Base], tmp_path: Path) -> None:
    """A file that fits is read whatever it says of itself: merges and converters copy metadata along."""
    path = lora(tmp_path / "a.safetensors", {"lora_unet_conv_in": (32, 4 * 9)}, ss_base_model_version="flux1")
    rewritten = {name: value.reshape(2, 4, 3, 3) if "down" in name else value for name, value in load_file(path).items()}
    save_file(rewritten, path, metadata={"ss_base_model_version": "flux1"})
    assert load_adapter(path, bases["sd1"]).weights.keys() == {"unet.conv_in"}


def test_a_sd1_file_on_sdxl_is_told_by_its_width(bases: dict[str, Base], tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", {"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": (640, 768)})
    text = message(path, bases["sdxl"])
    assert "is a LoRA for Stable Diffusion 1: " in text
    assert "a LoRA for SDXL, like the base" in text


NO_LORA: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "a checkpoint": ({"model.diffusion_model.out.2.bias": (4,), "first_stage_model.quant_conv.bias": (8,)}, "a whole checkpoint"),
    "a diffusers unet": ({"conv_in.weight": (320, 4, 3, 3), "conv_in.bias": (320,)}, "a whole U-Net"),
    "an embedding of SD1": ({"emb_params": (4, 768)}, "an embedding (textual inversion)"),
    "an embedding of SDXL": ({"clip_g": (4, 1280), "clip_l": (4, 768)}, "an embedding (textual inversion)"),
    "an embedding of diffusers": ({"<mychar>": (768,)}, "an embedding (textual inversion)"),
    "a ControlNet": ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "a ControlNet"),
    "an IP-Adapter": ({"image_proj.proj.weight": (8, 8)}, "an IP-Adapter"),
    "cloneofsimo's numbers": ({"unet:0:up": (8, 4), "unet:0:down": (4, 8)}, "numbered instead of named"),
}


@pytest.mark.parametrize("name", NO_LORA)
def test_what_is_no_lora_is_called_by_its_name(bases: dict[str, Base], tmp_path: Path, name: str) -> None:
    shapes, what = NO_LORA[name]
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "a.safetensors")
    assert what in message(tmp_path / "a.safetensors", bases["sd1"])


def test_bundled_embeddings_are_named_with_their_words(bases: dict[str, Base], tmp_path: Path) -> None:
    """OneTrainer's `bundle additional embeddings`: bundle_emb.WORD.clip_l, and bundle_emb.WORD.string_to_param.* on SD1."""
    path = lora(tmp_path / "a.safetensors", {"lora_unet_time_embedding_linear_1": (128, 32)})
    save_file(load_file(path) | {"bundle_emb.mychar.string_to_param.*": torch.zeros(2, 64)}, path)
    text = message(path, bases["sd1"])
    assert "bundles embeddings (textual inversions) for mychar: 1 tensors: bundle_emb.mychar.string_to_param.*" in text
    assert "bundle additional embeddings" in text

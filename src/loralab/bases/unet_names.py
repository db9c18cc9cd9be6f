"""What tools call the layers of a U-Net pipeline: a base in, its layers' paths by every spelling out; and kohya's spelling for writing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from loralab.bases.base import Base
from loralab.bases.unet import TEXT_PARTS, adaptable_parts, all_layers

#: the parts of a residual block in the layout of the first Stable Diffusion code, by their names in diffusers
RESNET_NAMES = {
    "norm1": "in_layers.0", "norm2": "out_layers.0",
    "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
#: the layers outside the blocks, likewise
OUTER_NAMES = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
PEFT_PREFIX = "base_model.model."
#: what may stand before a layer's dotted path, by the part of the base
DOTTED = {
    # nothing and `unet.`: diffusers, PEFT, OneTrainer; `diffusion_model.`: ComfyUI's LoraSave; the longer one: cut out of a checkpoint
    "unet": ("", "unet.", "diffusion_model.", "model.diffusion_model.", "lora_unet.", PEFT_PREFIX, f"{PEFT_PREFIX}unet."),
    # `text_encoder.`: diffusers; `clip_l.`: OneTrainer; `text_encoders.clip_l.transformer.`: ComfyUI's LoraSave
    "text_encoder": (
        "", "text_encoder.", "text_encoder_1.", "clip_l.", "clip_l.transformer.", "text_encoders.clip_l.",
        "text_encoders.clip_l.transformer.", "lora_te.", "lora_te1.", PEFT_PREFIX, f"{PEFT_PREFIX}text_encoder.",
    ),
    "text_encoder_2": (
        "", "text_encoder_2.", "clip_g.", "clip_g.transformer.", "text_encoders.clip_g.", "text_encoders.clip_g.transformer.", "lora_te2.",
        PEFT_PREFIX, f"{PEFT_PREFIX}text_encoder_2.",
    ),
}  # fmt: skip
#: and before a path with `.` -> `_`: kohya and those who write as it does, and LyCORIS' own wrapper (SimpleTuner). diffusers' converter
#: and OneTrainer number the first text encoder where there is but one; ComfyUI takes `lora_te` for SDXL's first one too
FLAT = {
    "unet": ("lora_unet_", "lycoris_"), "text_encoder": ("lora_te_", "lora_te1_", "lycoris_"), "text_encoder_2": ("lora_te2_", "lycoris_"),
}  # fmt: skip


def kohya_key(path: str, *, encoders: int = 1) -> str:
    """Return kohya's name of a layer: `unet.a.b.0` -> `lora_unet_a_b_0`, `text_encoder.encoder.a` -> `lora_te_text_model_encoder_a`.

    In a base of two text ``encoders`` these are `lora_te1` and `lora_te2`. transformers 5 leaves `text_model.` out of a CLIPTextModel's
    paths; files keep it, or other tools skip the whole text encoder.
    """
    part, _, inner = path.partition(".")
    if part in TEXT_PARTS:
        number = "" if encoders == 1 else str(1 + TEXT_PARTS.index(part))
        return f"lora_te{number}_text_model_" + inner.removeprefix("text_model.").replace(".", "_")
    return "lora_" + path.replace(".", "_")


def spellings(base: Base) -> dict[str, str]:
    """Return the path of each layer of ``base`` by every name that adapter files give it.

    A name is what may stand before a layer's path, and the path: in diffusers' naming or in that of the first Stable Diffusion code (UNet),
    with and without `text_model.` (text encoders). A name that would fit two layers is left out.
    """
    old = old_names(base.unet)
    found: dict[str, set[str]] = {}
    for path in (*all_layers(base), *norm_paths(base)):
        part, _, inner = path.partition(".")
        for form in _forms(part, inner, old.get(path)):
            for name in (*(prefix + form for prefix in DOTTED[part]), *(prefix + form.replace(".", "_") for prefix in FLAT[part])):
                found.setdefault(name, set()).add(path)
    return {name: paths.pop() for name, paths in found.items() if len(paths) == 1}


def norm_paths(base: Base) -> list[str]:
    """Return the paths of the normalisation layers, which files of LyCORIS may change too."""
    kinds = (torch.nn.GroupNorm, torch.nn.LayerNorm)
    named = ((part, inner, layer) for part, model in adaptable_parts(base).items() for inner, layer in model.named_modules())
    return [f"{part}.{inner}" for part, inner, layer in named if isinstance(layer, kinds)]


def _forms(part: str, inner: str, old: str | None) -> list[str]:
    """Return the paths that a layer has inside its part."""
    if part in TEXT_PARTS:
        bare = inner.removeprefix("text_model.")  # kohya's own code under transformers 5 writes its keys without text_model
        return [bare, f"text_model.{bare}"]
    return [inner] if old is None else [inner, old]


def old_names(unet: torch.nn.Module) -> dict[str, str]:
    """Return the name of each layer of ``unet`` in the first Stable Diffusion code, by its path ("unet.down_blocks. ...").

    Blocks are counted through: `input_blocks.n` holds a residual block (0) with its transformer (1), or a downsampler; `output_blocks.n`
    likewise with the upsampler last; see UNetModel in CompVis/stable-diffusion, ldm/modules/diffusionmodules/openaimodel.py.
    """
    found: dict[str, str] = {}
    place = 1  # input_blocks.0 is conv_in
    for x, block in enumerate(getattr(unet, "down_blocks", ())):
        for i in range(len(block.resnets)):
            found |= _block_names(unet, f"down_blocks.{x}", i, f"input_blocks.{place}")
            place += 1
        if getattr(block, "downsamplers", None):
            found[f"unet.down_blocks.{x}.downsamplers.0.conv"] = f"input_blocks.{place}.0.op"
            place += 1
    found |= _middle_names(unet)
    place = 0
    for x, block in enumerate(getattr(unet, "up_blocks", ())):
        for i in range(len(block.resnets)):
            found |= _block_names(unet, f"up_blocks.{x}", i, f"output_blocks.{place}")
            place += 1
        if getattr(block, "upsamplers", None):
            last = 2 if _attentions(block) else 1
            found[f"unet.up_blocks.{x}.upsamplers.0.conv"] = f"output_blocks.{place - 1}.{last}.conv"
    for ours, old in OUTER_NAMES.items():
        found[f"unet.{ours}"] = old
    present = {f"unet.{path}" for path, _ in unet.named_modules()}
    return {path: old for path, old in found.items() if path in present}


def _attentions(block: torch.nn.Module) -> Sequence[torch.nn.Module]:
    return getattr(block, "attentions", None) or ()


def _block_names(unet: torch.nn.Module, block: str, i: int, old: str) -> dict[str, str]:
    found = _resnet_names(f"{block}.resnets.{i}", f"{old}.0")
    if i < len(_attentions(unet.get_submodule(block))):
        found |= _attention_names(unet, f"{block}.attentions.{i}", f"{old}.1")
    return found


def _middle_names(unet: torch.nn.Module) -> dict[str, str]:
    middle = getattr(unet, "mid_block", None)
    if middle is None:
        return {}
    found = _resnet_names("mid_block.resnets.0", "middle_block.0") | _resnet_names("mid_block.resnets.1", "middle_block.2")
    if _attentions(middle):
        found |= _attention_names(unet, "mid_block.attentions.0", "middle_block.1")
    return found


def _resnet_names(ours: str, old: str) -> dict[str, str]:
    return {f"unet.{ours}.{name}": f"{old}.{other}" for name, other in RESNET_NAMES.items()}


def _attention_names(unet: torch.nn.Module, ours: str, old: str) -> dict[str, str]:
    """Return the names inside a transformer, which are the same in both layouts."""
    return {f"unet.{ours}.{inner}": f"{old}.{inner}" for inner, _ in unet.get_submodule(ours).named_modules() if inner}

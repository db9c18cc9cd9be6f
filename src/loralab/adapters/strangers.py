"""What a file is instead of a LoRA for this base: its header and metadata in, the error that calls it by its name out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loralab.adapters.header import Entry, shown
from loralab.bases import FAMILIES
from loralab.errors import LabError, Problem, lab_error


class Sign(NamedTuple):
    """How a kind is known, and its name."""

    pattern: re.Pattern[str]
    name: str


def _signs(*rows: tuple[str, str]) -> tuple[Sign, ...]:
    return tuple(Sign(re.compile(pattern, re.MULTILINE), name) for pattern, name in rows)


ANY = r"(?:^|[._])"
#: read off lines "name side,side,..." of the tensors, where any line fits; the first row that fits counts. U-Nets last, told by their width
BY_KEYS = _signs(
    (r"motion_modules[._]|temporal_transformer_blocks", "AnimateDiff (motion)"),
    (r"^lllite_", "a ControlNet-LLLite"),
    (r"^lora_prior_", "Stable Cascade"),
    (ANY + r"distilled_guidance_layer[._]", "Chroma"),
    (ANY + r"double_stream_(?:blocks|modulation)", "HiDream or FLUX.2"),
    (ANY + r"(?:double|single)_blocks[._]\d+[._](?:img_attn_qkv|txt_attn_qkv|img_mlp[._]fc1|modulation[._]linear)\.", "Hunyuan Video"),
    (ANY + r"(?:double|single)_blocks[._]\d+[._]\S* (?:6144,\d+|\d+,6144)\b", "FLUX.2"),
    (ANY + r"(?:double|single)_blocks[._]\d+[._]", "FLUX.1 (or Chroma, which has the same layers)"),
    (ANY + r"single_transformer_blocks[._]\d+[._]", "FLUX.1 (or FLUX.2, Chroma, which name their layers alike)"),
    (ANY + r"joint_blocks[._]\d+[._]", "Stable Diffusion 3"),
    (ANY + r"(?:double|single)_layers[._]\d+[._]", "AuraFlow"),
    (ANY + r"transformer_blocks[._]\d+[._](?:img_mlp|txt_mlp|img_mod|txt_mod)[._]", "Qwen-Image"),
    (ANY + r"transformer_blocks[._]\d+[._]attn[._]\S* (?:1536|2432|\d+,1536|\d+,2432)\b", "Stable Diffusion 3"),
    (ANY + r"transformer_blocks[._]\d+[._]attn[._](?:to_q|to_k|to_v|to_out|add_|to_add)", "Stable Diffusion 3, FLUX or Qwen-Image"),
    (ANY + r"llm_adapter[._]|blocks[._]\d+[._](?:self|cross)_attn[._](?:q_proj|k_proj|v_proj|output_proj)\.", "Cosmos or Anima"),
    (ANY + r"blocks[._]\d+[._]adaln_modulation", "Cosmos or Anima"),
    (ANY + r"txtfusion[._]|blocks[._]\d+[._]attn[._]w[qkvo]\.", "Krea 2"),
    (ANY + r"blocks[._]\d+[._](?:self|cross)_attn[._](?:q|k|v|o|k_img|v_img)\.", "Wan"),
    (r"^(?:transformer|lora_transformer)[._]blocks[._]\d+[._]attn[12][._]", "Wan"),
    (ANY + r"(?:layers[._]\d+[._]attention|noise_refiner|context_refiner)[._]\S* \d+,3840$", "Z-Image"),
    (ANY + r"(?:noise_refiner|context_refiner|layers[._]\d+[._](?:attention|feed_forward))[._]", "Z-Image or Lumina 2"),
    (ANY + r"(?:patchify_proj|caption_projection|adaln_single|scale_shift_table)\b", "a transformer (LTX-Video, PixArt or Sana)"),
    (r"^(?:transformer|lora_transformer|diffusion_model)[._]transformer_blocks[._]", "a transformer (LTX-Video, PixArt, Sana, ...)"),
    (r"^lora_unet_transformer_blocks_\d+_attn[12]_", "a transformer (PixArt, Sana, LTX-Video, ...)"),
    (r"^(?:lora_te3|text_encoder_3|text_encoders\.t5xxl|t5xxl?)[._]|SelfAttention", "a model with a T5 text encoder (SD 3, FLUX)"),
    (ANY + r"attn2[._]to_[kv]\S* \d+,2048$|^lora_te2_|^text_encoder_2\.|clip_g\.", "SDXL"),
    (ANY + r"transformer_blocks[._][1-9]\d*[._]attn[12]", "SDXL"),
    (ANY + r"attn2[._]to_[kv]\S* \d+,1024$|^lora_te_\S* (?:1024,\d+|\d+,1024)$|clip_h\.", "Stable Diffusion 2"),
    (ANY + r"attn2[._]to_[kv]\S* \d+,1280$", "the refiner of SDXL"),
    (ANY + r"attn2[._]to_[kv]\S* \d+,768$", "Stable Diffusion 1"),
)  # fmt: skip
#: what metadata call a family (kohya's and musubi-tuner's ss_base_model_version and module, modelspec's architecture, ai-toolkit's names)
BY_WORDS = _signs(
    (r"flux[-_. ]?2|klein", "FLUX.2"), (r"chroma", "Chroma"), (r"flux", "FLUX.1"), (r"hunyuan[-_. ]?image", "Hunyuan Image"),
    (r"hunyuan[-_. ]?video|hv15|hunyuan", "Hunyuan Video"), (r"qwen", "Qwen-Image"), (r"z[-_. ]?image", "Z-Image"), (r"lumina", "Lumina 2"),
    (r"\bwan|wan[-_. ]?2", "Wan"), (r"anima(?!te)", "Anima"), (r"krea[-_. ]?2", "Krea 2"), (r"framepack", "FramePack"),
    (r"hidream", "HiDream"),
    (r"cosmos", "Cosmos"), (r"ltx", "LTX-Video"), (r"pixart", "PixArt"), (r"sana", "Sana"), (r"aura[-_. ]?flow|pony[-_. ]?v?7", "AuraFlow"),
    (r"kolors", "Kolors"), (r"cascade|wuerstchen", "Stable Cascade"), (r"stable-diffusion-3|sd[-_. ]?3", "Stable Diffusion 3"),
    (r"refiner", "the refiner of SDXL"), (r"sdxl|stable-diffusion-xl|\bxl\b|pony|illustrious|noob", "SDXL"),
    (r"sd_v2|sd[-_. ]?2|stable-diffusion-v2|2\.1", "Stable Diffusion 2"), (r"sd_v1|sd[-_. ]?1|stable-diffusion-v1", "Stable Diffusion 1"),
)  # fmt: skip
TELLING = ("modelspec.architecture", "ss_base_model_version", "ss_network_module", "base_model", "baseModel", "ss_base_model")
U_NETS = ("Stable Diffusion 1", "Stable Diffusion 2", "SDXL", "the refiner of SDXL", "Kolors")

#: files that are no LoRA of any family
OTHER_FILES = _signs(
    (r"^(?:first_stage_model|cond_stage_model|conditioner\.embedders)\.", "a whole checkpoint"),
    (r"^(?:model\.)?(?:diffusion_model\.)?(?:conv_in|input_blocks\.0\.0)\.weight ", "a whole U-Net"),
    (r"^(?:emb_params|string_to_param\.\S+|<[^>]+>) ", "an embedding (textual inversion)"),
    (r"\Aclip_g \d+,\d+\nclip_l \d+,\d+\Z|\Aclip_[lg] \d+,\d+\Z", "an embedding (textual inversion)"),
    (r"^(?:control_model|controlnet_cond_embedding|controlnet_down_blocks)\.", "a ControlNet"),
    (r"^(?:image_proj|ip_adapter)\.", "an IP-Adapter"),
    (r"^(?:unet|text_encoder):\d+:(?:up|down) ", "a LoRA whose layers are numbered instead of named (cloneofsimo's format of 2022)"),
)  # fmt: skip
BUNDLED = "bundle_emb."


def refuse_other_files(path: Path, header: Mapping[str, Entry]) -> None:
    """Raise LabError("model") that says what a file is, where it is no LoRA of any family, or one with embeddings bundled into it."""
    bundled = sorted(name for name in header if name.startswith(BUNDLED))
    if bundled:
        words = sorted({name.split(".")[1] for name in bundled})
        whose = ", ".join(shown(word, 40) for word in words[:5])
        found = f"{shown(path.name)} bundles embeddings (textual inversions) for {whose}: {listed(bundled)}"
        do = "save the LoRA without them (in OneTrainer, switch off `bundle additional embeddings`); this version does not load embeddings"
        raise lab_error("model", found, "a LoRA and nothing else", do)
    lines = _lines(header)
    for sign in OTHER_FILES:
        if found_line := sign.pattern.search(lines):
            key = found_line.group().split(" ")[0]
            raise lab_error("model", f"{shown(path.name)} is {sign.name}: it contains {shown(key)}", "a LoRA file", "")


def strange(path: Path, names: Sequence[str], header: Mapping[str, Entry], metadata: Mapping[str, str], family: str) -> LabError:
    """Return the error for a file with tensors, ``names``, that fit nothing in a base of ``family``; it says whose the file is."""
    whose = family_told(header, metadata)
    many = f"{len(names)} entries that match nothing in the base: {', '.join(shown(name) for name in names[:5])}"
    if whose is None or whose == FAMILIES[family].said:
        return lab_error("model", f"{shown(path.name)} has {many}", "a LoRA for the same family as the base")
    return _of_another_family(path, whose, family, many)


@contextmanager
def naming_the_family(path: Path, header: Mapping[str, Entry], metadata: Mapping[str, str], family: str) -> Iterator[None]:
    """Add whose file it is to a LabError of the block, where that is not the base's own family."""
    try:
        yield
    except LabError as error:
        whose = family_told(header, metadata)
        if whose is None or whose == FAMILIES[family].said:
            raise
        raise _of_another_family(path, whose, family, error.problems[0].found) from error


def _of_another_family(path: Path, whose: str, family: str, why: str) -> LabError:
    wanted = f"a LoRA for {FAMILIES[family].said}, like the base"
    problem = Problem(f"{shown(path.name)} is a LoRA for {whose}: {why}", wanted, "use the base it was trained on")
    return LabError("model", [problem])


def family_told(header: Mapping[str, Entry], metadata: Mapping[str, str]) -> str | None:
    """Return the family that a file's tensors or, where these leave it open, its metadata tell; None where neither does."""
    by_keys = _first(BY_KEYS, _lines(header))
    by_words = next((name for key in TELLING if (name := _first(BY_WORDS, metadata.get(key, "").lower()))), None)
    if by_keys is None or by_words is None:
        return by_keys or by_words
    # a U-Net and a transformer cannot be mistaken for each other, and a U-Net's widths tell its kind: there, tensors have the last word
    return by_keys if by_keys in U_NETS or by_words in U_NETS else by_words


def listed(names: Sequence[str]) -> str:
    """Return how many names there are, and the first five."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} tensors: {', '.join(shown(name) for name in names[:5])}{more}"


def _first(signs: Sequence[Sign], text: str) -> str | None:
    return next((sign.name for sign in signs if sign.pattern.search(text)), None)


def _lines(header: Mapping[str, Entry]) -> str:
    """Return one line a tensor, `name side,side`; names of strangers hold no line breaks afterwards."""
    return "\n".join(f"{shown(name, 300)} {','.join(str(side) for side in entry.shape)}" for name, entry in sorted(header.items()))

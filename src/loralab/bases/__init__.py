"""Frozen text-to-image pipelines: a reference comes in, a Base with its fingerprint goes out."""

from loralab.bases.asking import (
    count_tokens,
    decode_latents,
    denoiser,
    embed_tokens,
    encode_images,
    noise_path,
    predict,
    prompt_limit,
    text_shape,
    token_width,
    tokenise,
    unit_px,
)
from loralab.bases.base import Base
from loralab.bases.family import FAMILIES, Family, family_of
from loralab.bases.hashes import model_hashes
from loralab.bases.load import load_base
from loralab.bases.text import embed_captions, embed_prompts, same_length

__all__ = [
    "FAMILIES", "Base", "Family", "count_tokens", "decode_latents", "denoiser", "embed_captions", "embed_prompts", "embed_tokens",
    "encode_images", "family_of", "load_base", "model_hashes", "noise_path", "predict", "prompt_limit", "same_length", "text_shape",
    "token_width", "tokenise", "unit_px",
]  # fmt: skip

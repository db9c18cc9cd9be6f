"""Frozen text-to-image pipelines: a reference comes in, a Base with its fingerprint goes out."""

from loralab.bases.base import Base, decode_latents, embed_tokens, encode_images, predict, tokenise
from loralab.bases.hashes import model_hashes
from loralab.bases.load import load_base
from loralab.bases.text import embed_captions, embed_prompts

__all__ = [
    "Base", "decode_latents", "embed_captions", "embed_prompts", "embed_tokens", "encode_images", "load_base",
    "model_hashes", "predict", "tokenise",
]  # fmt: skip

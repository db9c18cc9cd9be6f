"""Frozen text-to-image pipelines: a reference comes in, a Base with its fingerprint goes out."""

from loralab.bases.base import Base, decode_latents, embed_prompts, encode_images, predict
from loralab.bases.load import load_base

__all__ = ["Base", "decode_latents", "embed_prompts", "encode_images", "load_base", "predict"]

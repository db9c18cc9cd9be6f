"""CLIP's tokenizer from the merges that ship with the package: for checkpoints that bring none, made without a download."""

from __future__ import annotations

import gzip
from pathlib import Path

from transformers import CLIPTokenizer

MERGES = Path(__file__).parent / "clip_merges.txt.gz"
MAX_TOKENS = 77
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def make_clip_tokenizer(pad: str = END) -> CLIPTokenizer:
    """Return the tokenizer of Radford et al. 2021 with 49,408 tokens; ``pad`` fills up short prompts.

    SD1 and SDXL's first encoder fill up with the end token, SDXL's second one (OpenCLIP) with token 0, an exclamation mark.
    """
    merges = gzip.decompress(MERGES.read_bytes()).decode().splitlines()
    pieces = [
        *_byte_letters(),
        *(letter + WORD_END for letter in _byte_letters()),
        *(merge.replace(" ", "") for merge in merges),
        START,
        END,
    ]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, pad_token=pad, model_max_length=MAX_TOKENS)


def _byte_letters() -> list[str]:
    """Return a visible letter for each of the 256 bytes, the visible ones first (byte-level BPE, Radford et al. 2019)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in visible] + [chr(256 + index) for index in range(256 - len(visible))]

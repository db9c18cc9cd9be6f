"""petri's tokenizer: in goes its folder, out come token ids of captions."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPTokenizer

MAX_TOKENS = 24  # no caption of the world takes more; SD's 77 would cost a third of the training time


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Return the tokenizer of a folder."""
    return CLIPTokenizer.from_pretrained(folder)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Return token ids (N, MAX_TOKENS), padded as the pipeline pads them."""
    encoded = tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return encoded.input_ids

"""The tokenizer: in goes a corpus of captions, out come byte-level BPE merges in the files of a `CLIPTokenizer`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from loralab.petri.text import MAX_TOKENS, load_tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def byte_alphabet() -> list[str]:
    """Return 256 printable stand-ins for bytes, the printable bytes first (openai/gpt-2, `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    stand_ins = [chr(byte) for byte in printable]
    return stand_ins + [chr(256 + i) for i in range(256 - len(printable))]


def count_words(captions: Iterable[str]) -> Counter[str]:
    """Return how often each word, digit or run of signs occurs, cut as CLIP cuts them."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", caption.lower()))
    return counts


def train_merges(counts: Counter[str], n_merges: int) -> list[tuple[str, str]]:
    """Return the merges of byte-pair encoding (Sennrich et al. 2016); ties go to the pair that sorts first."""
    words = {word: [*word[:-1], word[-1] + WORD_END] for word in counts}
    merges: list[tuple[str, str]] = []
    while len(merges) < n_merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {word: join_pair(pieces, best) for word, pieces in words.items()}
    return merges


def join_pair(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """Return the pieces of a word with every occurrence of a pair joined."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def save_tokenizer(captions: Iterable[str], folder: Path, n_merges: int = 480, min_count: int = 20) -> CLIPTokenizer:
    """Train on the words that occur at least `min_count` times, write the files, return the tokenizer.

    Rare words are the random letters of nonsense captions: without them a made-up trigger falls into short pieces.
    """
    counts = Counter({word: n for word, n in count_words(captions).items() if n >= min_count})
    merges = train_merges(counts, n_merges)
    alphabet = byte_alphabet()
    pieces = [*alphabet, *(letter + WORD_END for letter in alphabet), *("".join(merge) for merge in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    save_files(CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS), folder)
    return load_tokenizer(folder)


def save_files(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write `tokenizer.json`, and the `vocab.json` and `merges.txt` that older tools read."""
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8", newline="\n")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")

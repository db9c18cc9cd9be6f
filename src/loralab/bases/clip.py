"""CLIP text encoders as prompts are read by them: pieces with weights in, rows of embeddings out, in chunks of the encoder's length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from loralab.bases.base import Base
from loralab.errors import LabError, Problem, lab_error
from loralab.spec.prompts import Piece

#: a text may fill this many chunks: lengths are brought together by repetition, and many different ones would cost much
MOST_CHUNKS = 4
#: words of at least this many tokens may be cut between two chunks, shorter ones move to the next whole (ComfyUI's rule)
LARGE_WORD_TOKENS = 8


@dataclass(frozen=True)
class Token:
    """One token with the weight that its word has in the prompt."""

    index: int
    weight: float = 1.0


def prompt_limit(base: Base) -> int:
    """Return how many tokens one chunk of a text holds, including start and end."""
    return min(int(base.tokenizer.model_max_length), int(base.text_encoder.config.max_position_embeddings))


def count_tokens(base: Base, text: str) -> int:
    """Return how many tokens a text has, letter by letter, including start and end."""
    return len(base.tokenizer(text).input_ids)


def too_long(base: Base, parts: Sequence[Sequence[Piece]]) -> tuple[str, str] | None:
    """Return (how long a text is, what is allowed) where it fills too many chunks; None where it does not."""
    n = len(all_chunks(base, base.tokenizer, parts))
    return (f"fills {n} chunks of {prompt_limit(base) - 2} tokens", f"at most {MOST_CHUNKS}") if n > MOST_CHUNKS else None


def all_chunks(base: Base, tokenizer: Any, parts: Sequence[Sequence[Piece]]) -> list[list[Token]]:
    """Return the chunks of a prompt whose ``parts`` begin a chunk each."""
    return [chunk for part in parts for chunk in chunk_tokens(base, tokenizer, part)]


def chunk_tokens(base: Base, tokenizer: Any, pieces: Sequence[Piece]) -> list[list[Token]]:
    """Return the tokens of ``pieces`` in chunks of the encoder's length: start, words, end, padding (no pieces: the empty prompt)."""
    room = prompt_limit(base) - 2
    chunks: list[list[Token]] = [[]]
    for word in _words(tokenizer, pieces):
        while word:
            left = room - len(chunks[-1])
            if len(word) <= left:
                chunks[-1] += word
                break
            if len(word) >= LARGE_WORD_TOKENS or len(word) > room:
                chunks[-1] += word[:left]
                word = word[left:]
            chunks.append([])
    start, end, padding = (Token(int(getattr(tokenizer, f"{name}_token_id"))) for name in ("bos", "eos", "pad"))
    return [[start, *chunk, end, *[padding] * (room - len(chunk))] for chunk in chunks]


def _words(tokenizer: Any, pieces: Sequence[Piece]) -> list[list[Token]]:
    words = [(word, piece.weight) for piece in pieces for word in piece.text.split()]
    return [[Token(index, weight) for index in tokenizer(word, add_special_tokens=False).input_ids] for word, weight in words]


def weighed(base: Base, tokenizer: Any, tokens: Sequence[Token], layer: Callable[[Sequence[int]], torch.Tensor]) -> torch.Tensor:
    """Return one chunk's embedding (T, D): tokens of another weight are moved away from, or towards, the empty prompt's at their place.

    z_empty + weight * (z - z_empty), as ComfyUI has it (comfy/sd1_clip.py, encode_token_weights); A1111 multiplies z and restores its mean.
    """
    embedded = layer([token.index for token in tokens])
    if all(token.weight == 1 for token in tokens):
        return embedded
    (nothing,) = chunk_tokens(base, tokenizer, [])
    empty = layer([token.index for token in nothing])
    weights = torch.tensor([token.weight for token in tokens], device=embedded.device)[:, None]
    return torch.where(weights == 1, embedded, empty + weights * (embedded - empty))


def batch_of_one(base: Base, indices: Sequence[int]) -> torch.Tensor:
    """Return token numbers (1, T) on the base's device."""
    return torch.tensor([list(indices)], device=base.device)


def rows_of(states: torch.Tensor) -> torch.Tensor:
    """Return the rows (T, D), float32, of a batch of one."""
    return states[0].to(torch.float32)


def tokenise(base: Base, tokenizers: Sequence[Any], prompts: Sequence[str]) -> torch.Tensor:
    """Return the tokens (N, T for each tokenizer) of ``prompts``, letter by letter, padded, in one chunk.

    Raises LabError("spec") where a prompt has more tokens than the base reads.
    """
    limit = prompt_limit(base)
    lengths = [count_tokens(base, prompt) for prompt in prompts]
    problems = [
        Problem(
            f"the prompt {prompt[:60]!r} has {n} tokens", f"at most {limit}, including start and end",
            "shorten it: loralab never truncates a prompt silently",
        )
        for prompt, n in zip(prompts, lengths, strict=True)
        if n > limit
    ]  # fmt: skip
    if problems:
        raise LabError("spec", problems)
    padded = [
        [tokenizer([prompt], padding="max_length", max_length=limit, return_tensors="pt").input_ids for tokenizer in tokenizers]
        for prompt in prompts
    ]
    return torch.cat([torch.cat(row, dim=1) for row in padded])


def check_clip_skip(base: Base, clip_skip: int) -> None:
    """Raise LabError("spec") for a layer that the text encoder does not have."""
    n_layers = int(base.text_encoder.config.num_hidden_layers)
    if not 1 <= clip_skip <= n_layers:
        raise lab_error("spec", f"clip_skip {clip_skip} on a text encoder of {n_layers} layers", f"1 (the last layer) to {n_layers}")

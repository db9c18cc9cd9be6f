"""Prompts and captions to embeddings: text of any length in, (N, T, D) out; long texts in chunks, weights as ComfyUI applies them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from loralab.bases.base import Base, prompt_limit
from loralab.errors import LabError, Problem, lab_error
from loralab.spec.prompts import Piece, parse_prompt

#: a text may fill this many chunks: lengths are brought together by repetition, and many different ones would cost much
MOST_CHUNKS = 4
#: words of at least this many tokens may be cut between two chunks, shorter ones move to the next whole (ComfyUI's rule)
LARGE_WORD_TOKENS = 8


@dataclass(frozen=True)
class Token:
    """One token with the weight that its word has in the prompt."""

    index: int
    weight: float = 1.0


def embed_prompts(base: Base, prompts: Sequence[str], *, clip_skip: int = 1) -> torch.Tensor:
    """Return the embeddings (N, T, D) of ``prompts``, read as :mod:`loralab.spec.prompts` says.

    T is one length for all: the shorter are repeated, which changes nothing (attention over a sequence said n times is attention over
    the sequence). Raises LabError("spec") for every prompt that cannot be read or is too long.
    """
    parsed, problems = [], []
    for prompt in prompts:
        try:
            parsed.append(parse_prompt(prompt))
        except ValueError as error:
            problems.append(Problem(str(error)))
    if problems:
        raise LabError("spec", problems)
    return _embed_texts(base, list(prompts), parsed, clip_skip)


def embed_captions(base: Base, captions: Sequence[str], *, clip_skip: int = 1) -> torch.Tensor:
    """Return the embeddings (N, T, D) of ``captions``, each letter as it stands: a bracket weighs nothing, as in trainers."""
    return _embed_texts(base, list(captions), [[[Piece(caption, 1.0)]] for caption in captions], clip_skip)


def same_length(base: Base, embeddings: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return (..., T_i, D) with their tokens repeated to the least common multiple; equal lengths come back as they are.

    SDXL's row of the pooled vector stays the last, and stays one.
    """
    behind = 1 if base.text_encoder_2 is not None else 0
    length = math.lcm(*(tensor.shape[-2] - behind for tensor in embeddings))
    return [tensor if tensor.shape[-2] - behind == length else _repeated(tensor, length, behind) for tensor in embeddings]


def _repeated(tensor: torch.Tensor, length: int, behind: int) -> torch.Tensor:
    n_tokens = tensor.shape[-2] - behind
    said = tensor[..., :n_tokens, :].repeat(*(1,) * (tensor.ndim - 2), length // n_tokens, 1)
    return torch.cat([said, tensor[..., n_tokens:, :]], dim=-2)


@torch.no_grad()
def _embed_texts(base: Base, texts: list[str], parsed: Sequence[list[list[Piece]]], clip_skip: int) -> torch.Tensor:
    _check_clip_skip(base, clip_skip)
    chunked = [[chunk for part in parts for chunk in chunk_tokens(base, base.tokenizer, part)] for parts in parsed]
    problems = [
        Problem(f"{text[:60]!r} fills {len(chunks)} chunks of {prompt_limit(base) - 2} tokens", f"at most {MOST_CHUNKS}", "shorten it")
        for text, chunks in zip(texts, chunked, strict=True)
        if len(chunks) > MOST_CHUNKS
    ]
    if problems:
        raise LabError("spec", problems)
    # one by one: an embedding must not depend, by a last bit, on which prompts were embedded beside it
    if base.text_encoder_2 is not None:
        return torch.stack(same_length(base, [_embed_twice(base, parts) for parts in parsed]))
    layer = partial(_hidden, base, clip_skip=clip_skip)
    return torch.stack(same_length(base, [torch.cat([_weighed(base, base.tokenizer, c, layer) for c in chunks]) for chunks in chunked]))


def _embed_twice(base: Base, parts: list[list[Piece]]) -> torch.Tensor:
    """Return SDXL's embedding (T + 1, D): both encoders' last layer but one, then the first chunk's pooled vector (Podell et al. 2023)."""
    pooled: list[torch.Tensor] = []

    def second(indices: Sequence[int]) -> torch.Tensor:
        found = base.text_encoder_2(_batch_of_one(base, indices), output_hidden_states=True)
        pooled.append(found.text_embeds)
        return _rows(found.hidden_states[-2])

    def first(indices: Sequence[int]) -> torch.Tensor:
        return _rows(base.text_encoder(_batch_of_one(base, indices), output_hidden_states=True).hidden_states[-2])

    halves = [
        torch.cat([_weighed(base, tokenizer, chunk, layer) for part in parts for chunk in chunk_tokens(base, tokenizer, part)])
        for tokenizer, layer in ((base.tokenizer, first), (base.tokenizer_2, second))
    ]
    rows = torch.cat(halves, dim=-1)
    last = torch.nn.functional.pad(pooled[0].to(torch.float32), (0, rows.shape[-1] - pooled[0].shape[-1]))
    return torch.cat([rows, last])


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


def _weighed(base: Base, tokenizer: Any, tokens: Sequence[Token], layer: Callable[[Sequence[int]], torch.Tensor]) -> torch.Tensor:
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


def _hidden(base: Base, indices: Sequence[int], *, clip_skip: int) -> torch.Tensor:
    """Return the hidden states (T, D) of the layer that ``clip_skip`` names, after the encoder's final norm (A1111's and ComfyUI's way)."""
    if clip_skip == 1:
        return _rows(base.text_encoder(_batch_of_one(base, indices)).last_hidden_state)
    states = base.text_encoder(_batch_of_one(base, indices), output_hidden_states=True).hidden_states
    model = getattr(base.text_encoder, "text_model", base.text_encoder)  # transformers 4 and 5
    return _rows(model.final_layer_norm(states[-clip_skip]))


def _batch_of_one(base: Base, indices: Sequence[int]) -> torch.Tensor:
    return torch.tensor([list(indices)], device=base.device)


def _rows(states: torch.Tensor) -> torch.Tensor:
    return states[0].to(torch.float32)


def _check_clip_skip(base: Base, clip_skip: int) -> None:
    n_layers = int(base.text_encoder.config.num_hidden_layers)
    if base.text_encoder_2 is not None and clip_skip != 1:
        found = f"clip_skip {clip_skip} on an SDXL base"
        raise lab_error("spec", found, "1: SDXL always reads the last layer but one, with which it was trained", "leave `clip_skip` out")
    if not 1 <= clip_skip <= n_layers:
        raise lab_error("spec", f"clip_skip {clip_skip} on a text encoder of {n_layers} layers", f"1 (the last layer) to {n_layers}")

"""Prompts and captions to embeddings: text of any length in, (N, T, D) out; how a family reads them is its own affair."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from loralab.bases.base import Base
from loralab.bases.family import family_of
from loralab.errors import LabError, Problem
from loralab.spec.prompts import Piece, parse_prompt


def embed_prompts(base: Base, prompts: Sequence[str], *, clip_skip: int = 1) -> torch.Tensor:
    """Return the embeddings (N, T, D) of ``prompts``, read as :mod:`loralab.spec.prompts` says.

    T is one length for all, to which the family brings them without changing a prediction. Raises LabError("spec") for every prompt that
    cannot be read or is too long.
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
    """Return embeddings (..., T_i, D) brought to one length, which changes no prediction; equal lengths come back as they are."""
    return family_of(base).join(embeddings)


@torch.no_grad()
def _embed_texts(base: Base, texts: list[str], parsed: Sequence[list[list[Piece]]], clip_skip: int) -> torch.Tensor:
    family = family_of(base)
    problems = [
        Problem(f"{text[:60]!r} {told[0]}", told[1], "shorten it")
        for text, parts in zip(texts, parsed, strict=True)
        if (told := family.too_long(base, parts))
    ]
    if problems:
        raise LabError("spec", problems)
    # one by one: an embedding must not depend, by a last bit, on which prompts were embedded beside it
    return torch.stack(family.join([family.embed(base, parts, clip_skip=clip_skip) for parts in parsed]))

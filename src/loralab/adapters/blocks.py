"""What a recipe says block by block: a layer's path in, its rank and the share of the learning rate that it gets out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from loralab.bases.parts import is_text
from loralab.errors import LabError, Problem
from loralab.spec.models import TrainSpec

Value = TypeVar("Value", int, float)
STAGES = (("down_blocks.", "down."), ("up_blocks.", "up."), ("mid_block.", "mid."))


def block_of(path: str) -> str:
    """Return the words of a layer's place, of which a block's name is the beginning: "down.1.attentions.0. ...", "text. ..."."""
    if is_text(path):
        return "text." + path.partition(".")[2]
    inner = path.partition(".")[2]
    for ours, said in STAGES:
        if inner.startswith(ours):
            return said + inner.removeprefix(ours)
    return inner


def value_at(blocks: Mapping[str, Value], path: str, default: Value) -> Value:
    """Return the value of the block with the longest name that a layer lies in; ``default`` where it lies in none."""
    place = block_of(path) + "."
    inside = [block for block in blocks if place.startswith(block + ".")]
    return blocks[max(inside, key=len)] if inside else default


def rank_at(spec: TrainSpec, path: str) -> int:
    """Return the rank of a layer; 0 where it is not trained."""
    return 0 if rate_at(spec, path) == 0 else value_at(spec.block_ranks, path, spec.rank)


def rate_at(spec: TrainSpec, path: str) -> float:
    """Return the share of its part's learning rate that a layer gets."""
    return value_at(spec.block_lrs, path, 1.0)


def check_blocks(spec: TrainSpec, paths: Iterable[str], base: str) -> None:
    """Raise LabError("spec") for a block in which the recipe trains no layer of the base."""
    places = [block_of(path) + "." for path in paths]
    there = [found.group() for place in places if (found := re.match(r"(?:down|up)\.\d+|[a-z]+", place))]
    said = ", ".join(dict.fromkeys(there))
    problems = [
        Problem(f"{name} names the block {block!r}, in which nothing of {base} is trained", f"a block out of {said}, or a part of one")
        for name, blocks in (("block_ranks", spec.block_ranks), ("block_lrs", spec.block_lrs))
        for block in blocks
        if not any(place.startswith(block + ".") for place in places)
    ]
    if problems:
        raise LabError("spec", problems)

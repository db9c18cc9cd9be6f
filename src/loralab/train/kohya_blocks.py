"""A recipe's blocks in sd-scripts' words: a base and a recipe in, `block_dims`, `down_lr_weight` and the like out.

sd-scripts counts a U-Net's blocks (networks/lora.py, get_block_index): 12 down, one in the middle, 12 up; in SDXL one before them, 9 down,
3 in the middle, 9 up, one behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from loralab.adapters import adapted_layers
from loralab.adapters.blocks import rank_at, rate_at, value_at
from loralab.bases import Base
from loralab.bases.unet_names import old_names
from loralab.spec.models import TrainSpec


class Count(NamedTuple):
    """How many blocks there are: before the first, down, in the middle, up, behind the last."""

    before: int
    down: int
    middle: int
    up: int
    behind: int


COUNTS: Mapping[str, Count] = {"sd1": Count(0, 12, 1, 12, 0), "sdxl": Count(1, 9, 3, 9, 1)}
#: where counting starts in SDXL, by the name of a stage in the layout of the first Stable Diffusion code
SDXL_STARTS = {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}
PLACE = re.compile(r"^unet\.(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.")


def block_arguments(base: Base, recipe: TrainSpec) -> dict[str, str] | None:
    """Return a recipe's blocks as `network_args`; {} where they do not differ, None where sd-scripts has no words for them."""
    if not recipe.block_ranks and not recipe.block_lrs:
        return {}
    if base.family not in COUNTS or _text_differs(recipe):
        return None
    ranks, rates = dict[int, int](), dict[int, float]()
    names = old_names(base.unet) if base.family == "sdxl" else {}
    for path in adapted_layers(base, recipe.targets):
        place = _place(path, names.get(path))
        if place is None or ranks.setdefault(place, rank_at(recipe, path)) != rank_at(recipe, path):
            return None
        if rates.setdefault(place, rate_at(recipe, path)) != rate_at(recipe, path):
            return None
    return _arguments(recipe, COUNTS[base.family], ranks, rates)


def _text_differs(recipe: TrainSpec) -> bool:
    """Whether the text encoder has a rank or a rate of its own, for which there is no word."""
    if not recipe.trains_text:
        return False
    return value_at(recipe.block_ranks, "text_encoder.x", recipe.rank) != recipe.rank or rate_at(recipe, "text_encoder.x") != 1


def _place(path: str, old: str | None) -> int | None:
    """Return the number of the block that a layer of the U-Net lies in."""
    if old is not None:
        stage, number = old.split(".")[:2]
        return SDXL_STARTS[stage] + int(number) if stage in SDXL_STARTS else None
    if path.startswith("unet.mid_block."):
        return COUNTS["sd1"].down
    found = PLACE.match(path)
    if found is None:
        return None
    inside = int(found[4]) if found[3] in ("resnets", "attentions") else 2
    block = 3 * int(found[2]) + inside
    return 1 + block if found[1] == "down" else COUNTS["sd1"].down + 1 + block


def _arguments(recipe: TrainSpec, count: Count, ranks: Mapping[int, int], rates: Mapping[int, float]) -> dict[str, str]:
    found: dict[str, str] = {}
    every = range(sum(count))
    if recipe.block_ranks:
        dims = [ranks.get(place, recipe.rank) for place in every]
        alphas = [recipe.alpha_of(dim or recipe.rank) for dim in dims]
        for kind in ("", "conv_") if recipe.targets == "transformer+conv" else ("",):
            found |= {f"{kind}block_dims": ",".join(map(str, dims)), f"{kind}block_alphas": ",".join(f"{alpha:g}" for alpha in alphas)}
    if recipe.block_lrs:
        start = count.before
        for name in ("down", "middle", "up"):
            stop = start + getattr(count, name)
            weights = ",".join(f"{rates.get(place, 1.0):g}" for place in range(start, stop))
            found[f"{name.removesuffix('dle')}_lr_weight"] = weights
            start = stop
    return found

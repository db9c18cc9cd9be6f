"""A recipe's blocks in sd-scripts' words: a base and a recipe in, `block_dims`, `down_lr_weight` and the like out."""

from __future__ import annotations

from collections.abc import Mapping

from loralab.adapters import adapted_layers
from loralab.adapters.blocks import rank_at, rate_at, value_at
from loralab.bases import Base
from loralab.bases.unet_places import Count, count_of, places_of
from loralab.spec.models import TrainSpec


def block_arguments(base: Base, recipe: TrainSpec) -> dict[str, str] | None:
    """Return a recipe's blocks as `network_args`; {} where they do not differ, None where sd-scripts has no words for them."""
    if not recipe.block_ranks and not recipe.block_lrs:
        return {}
    count = count_of(base)
    if count is None or _text_differs(recipe):
        return None
    ranks, rates = dict[int, int](), dict[int, float]()
    for path, place in places_of(base, adapted_layers(base, recipe.targets)).items():
        if place is None or ranks.setdefault(place, rank_at(recipe, path)) != rank_at(recipe, path):
            return None
        if rates.setdefault(place, rate_at(recipe, path)) != rate_at(recipe, path):
            return None
    return _arguments(recipe, count, ranks, rates)


def _text_differs(recipe: TrainSpec) -> bool:
    """Whether the text encoder has a rank or a rate of its own, for which there is no word."""
    if not recipe.trains_text:
        return False
    return value_at(recipe.block_ranks, "text_encoder.x", recipe.rank) != recipe.rank or rate_at(recipe, "text_encoder.x") != 1


def _arguments(recipe: TrainSpec, count: Count, ranks: Mapping[int, int], rates: Mapping[int, float]) -> dict[str, str]:
    found: dict[str, str] = {}
    every = range(sum(count))
    if recipe.block_ranks:
        dims = [ranks.get(place, recipe.rank) for place in every]
        alphas = [recipe.file_alpha(dim or recipe.rank) for dim in dims]
        for kind in ("", "conv_") if recipe.targets == "transformer+conv" else ("",):
            found |= {f"{kind}block_dims": ",".join(map(str, dims)), f"{kind}block_alphas": ",".join(f"{alpha:.9g}" for alpha in alphas)}
    if recipe.block_lrs:
        start = count.before
        for name in ("down", "middle", "up"):
            stop = start + getattr(count, name)
            weights = ",".join(f"{rates.get(place, 1.0):g}" for place in range(start, stop))
            found[f"{name.removesuffix('dle')}_lr_weight"] = weights
            start = stop
    return found

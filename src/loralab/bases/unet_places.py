"""Where in a U-Net a layer lies, counted as sd-scripts counts blocks (networks/lora.py, get_block_index): layers in, numbers out.

There are 12 down, one in the middle and 12 up; in SDXL one before them, 9 down, 3 in the middle, 9 up, and one behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from loralab.bases.base import Base
from loralab.bases.unet_names import old_names


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


def count_of(base: Base) -> Count | None:
    """Return how many blocks there are; None for a family in which nobody counts them."""
    return COUNTS.get(base.family)


def places_of(base: Base, paths: Iterable[str]) -> dict[str, int | None]:
    """Return the number of the block that each layer lies in; None for one that lies in none."""
    names = old_names(base.unet) if base.family == "sdxl" else {}
    return {path: _place(path, names.get(path)) for path in paths}


def _place(path: str, old: str | None) -> int | None:
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

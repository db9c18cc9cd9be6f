"""Which pictures are drawn together: blocks of the grid in, batches of K groups of B out; a pure function."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

#: what an adapter goes by (None: the base itself), and its strength
Group = tuple[Hashable, float]
Item = tuple[str, int]


@dataclass(frozen=True)
class ImageBlock:
    """Pictures of one adapter (by what it goes by; None = the base) at one prompt and strength, one a seed."""

    adapter: Hashable
    prompt: str
    strength: float
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """K groups (adapter, strength) of B pictures (prompt, seed) each; B is the same for all groups."""

    groups: tuple[Group, ...]
    items: tuple[tuple[Item, ...], ...]

    @property
    def n_images(self) -> int:
        """K * B."""
        return len(self.groups) * len(self.items[0])


def plan_batches(blocks: Sequence[ImageBlock], batch_size: int) -> list[Batch]:
    """Return batches of at most ``batch_size`` pictures that hold each picture of ``blocks`` once, in the order of the blocks.

    Groups with equally many pictures go side by side; a group larger than a batch is cut into equal runs of pictures.
    """
    waiting: dict[Group, list[Item]] = {}
    for block in (block for block in blocks if block.seeds):
        waiting.setdefault((block.adapter, block.strength), []).extend((block.prompt, seed) for seed in block.seeds)
    by_length: dict[int, list[tuple[Group, tuple[Item, ...]]]] = {}
    for group, items in waiting.items():
        for part in _cut(items, batch_size):
            by_length.setdefault(len(part), []).append((group, part))
    batches = []
    for length, parts in by_length.items():
        n_groups = max(1, batch_size // length)
        for start in range(0, len(parts), n_groups):
            chosen = parts[start : start + n_groups]
            batches.append(Batch(tuple(group for group, _ in chosen), tuple(items for _, items in chosen)))
    return batches


def _cut(items: list[Item], batch_size: int) -> list[tuple[Item, ...]]:
    """Cut one group's pictures into the fewest parts that fit, as equal as they can be."""
    n_parts = -(-len(items) // batch_size)
    bounds = [len(items) * part // n_parts for part in range(n_parts + 1)]
    return [tuple(items[start:stop]) for start, stop in itertools.pairwise(bounds)]

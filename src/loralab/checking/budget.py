"""What a check draws in the time it has: counts and the time of a picture in, files, prompts, seeds and strengths out.

There is always an answer: first strengths are given up, then seeds, captions, files between the first and the last, unrelated prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

#: seeds that are drawn and kept together; two are the fewest that give an interval, four the fewest that give a useful one
SEEDS_A_BLOCK = 2
FEWEST_SEEDS, USEFUL_SEEDS, MOST_SEEDS = 2, 4, 64


@dataclass(frozen=True)
class Wanted:
    """How much there is to draw: files, prompts of a file (trigger alone, a caption, one of the battery), strengths of one file."""

    n_files: int
    n_triggers: int  # prompts at the trigger, each again without it
    n_unrelated: int
    n_strengths: int
    bases_a_seed: int = 1  # files that own their seeds need the base at each of them
    without: bool = True  # whether each prompt is drawn without its trigger too


@dataclass(frozen=True)
class Budget:
    """What is drawn."""

    n_seeds: int
    n_strengths: int
    n_files: int
    n_captions: int
    n_unrelated: int

    def at_least(self, other: Budget) -> Budget:
        """Return this budget with the files and prompts of another that has been begun: what is drawn is not given up again."""
        return replace(
            self, n_files=max(self.n_files, other.n_files), n_captions=max(self.n_captions, other.n_captions),
            n_unrelated=max(self.n_unrelated, other.n_unrelated),
        )  # fmt: skip


def pictures_a_seed(wanted: Wanted, n_files: int, n_captions: int, n_unrelated: int, n_strengths: int) -> int:
    """Return how many pictures one more seed takes."""
    n_triggers = min(wanted.n_triggers, 1 + n_captions)
    prompts = n_triggers * (2 if wanted.without else 1) + n_unrelated
    bases = n_files if wanted.bases_a_seed > 1 else 1
    return prompts * (bases + n_files + n_strengths)


def afford(wanted: Wanted, seconds_a_picture: float, seconds: float) -> Budget:
    """Return the richest budget that fits into ``seconds``; the poorest where none does."""
    for plan in _ladder(wanted):
        a_seed = pictures_a_seed(wanted, plan.n_files, plan.n_captions, plan.n_unrelated, plan.n_strengths) * seconds_a_picture
        most = int(seconds / a_seed) if a_seed else MOST_SEEDS
        if most >= plan.n_seeds:
            return replace(plan, n_seeds=min(MOST_SEEDS, most // SEEDS_A_BLOCK * SEEDS_A_BLOCK))
    return plan


def _ladder(wanted: Wanted) -> Iterator[Budget]:
    """Yield what is drawn from everything to the least."""
    plan = Budget(USEFUL_SEEDS, wanted.n_strengths, wanted.n_files, max(0, wanted.n_triggers - 1), wanted.n_unrelated)
    yield plan
    for n in (n for n in (2, 0) if n < wanted.n_strengths):
        plan = replace(plan, n_strengths=n)
        yield plan
    for change in ({"n_seeds": FEWEST_SEEDS}, {"n_captions": 0}, {"n_unrelated": 1}):
        plan = replace(plan, **change)
        yield plan
    while plan.n_files > 1:
        plan = replace(plan, n_files=max(1, plan.n_files // 2))
        yield plan


def spread_over(n: int, kept: int) -> list[int]:
    """Return ``kept`` of ``n`` places, the last among them and the others evenly before it."""
    return sorted({n - 1 - (n - 1) * k // max(1, kept - 1) for k in range(kept)}) if kept > 1 else [n - 1]

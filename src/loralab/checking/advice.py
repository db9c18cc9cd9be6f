"""Which file to keep, and at which strength: scores of all that was drawn in, one piece of advice with its figures out; numpy alone.

The one with the most effect at strength 1 is the yardstick. What keeps most of its effect at clearly less damage is advised in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from loralab.checking.scores import Scores
from loralab.infer.units import Estimate, estimate_mean, estimate_ratio

#: less of the effect than this is no substitute
LEAST_EFFECT = 0.75
#: a trade must gain this much: the share of the effect that stays, less the share of the damage that stays
LEAST_GAIN = 0.1
#: damage whose whole interval lies below this is not worth trading effect for
LITTLE_DAMAGE = 0.1


class Choice(NamedTuple):
    """A file at a strength."""

    label: str
    strength: float


@dataclass(frozen=True)
class Advice:
    """What to use; where that is not the yardstick itself, its share of the yardstick's effect and damage."""

    use: Choice
    yardstick: Choice
    effect: Estimate | None = None
    damage: Estimate | None = None

    @property
    def trades(self) -> bool:
        """Whether something else is advised than what has the most effect."""
        return self.use != self.yardstick


def advise(found: Mapping[Choice, Scores]) -> Advice | None:
    """Return what to use of what was drawn at one and the same prompts; None where no effect can be told from none.

    Chosen is what keeps at least 75 % of the yardstick's effect and damages less beyond chance, by the largest gain: the share of the
    effect that stays, less the share of the damage that stays. Where the yardstick hardly damages anything it stays.
    """
    working = [choice for choice, scores in found.items() if choice.strength == 1 and estimate_mean(scores.effect).low > 0]
    if not working:
        return None
    yardstick = max(working, key=lambda choice: float(found[choice].effect.mean()))
    whole = found[yardstick]
    if estimate_mean(whole.damage).high < LITTLE_DAMAGE:
        return Advice(yardstick, yardstick)
    shares = {
        choice: (estimate_ratio(scores.effect, whole.effect), estimate_ratio(scores.damage, whole.damage))
        for choice, scores in found.items()
        if choice != yardstick and float(scores.effect.mean()) > 0
    }
    better = {choice: pair for choice, pair in shares.items() if _is_worth_it(*pair)}
    if not better:
        return Advice(yardstick, yardstick)
    use = max(better, key=lambda choice: (better[choice][0].value - better[choice][1].value, better[choice][0].value))
    return Advice(use, yardstick, *better[use])


def _is_worth_it(effect: Estimate, damage: Estimate) -> bool:
    return effect.value >= LEAST_EFFECT and damage.high < 1 and effect.value - damage.value >= LEAST_GAIN

"""What further trainings would tell: the chance of an answer at each later look, and whether it is worth going on.

In: a contrast as it stands, the margin, the expectation, the levels of the looks. Out: chances between 0 and 1. The estimate at a later
look is normal about today's, with the variance that the trainings until then add; the trend so far is taken for true.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import stats

from loralab.infer.estimate import student_half_width
from loralab.infer.looks import PLANNED, Looks
from loralab.infer.verdict import Contrast

#: a claim whose chance of an answer by the last look is below this is not worth more trainings.
FUTILE = 0.10
#: the look at which an answer is said to be likely
LIKELY = 0.5


@dataclass(frozen=True)
class Outlook:
    """The looks that are still to come, in trainings of each arm, and the chance of an answer at each."""

    trainings: tuple[int, ...]
    chances: tuple[float, ...]

    @property
    def last(self) -> float:
        """The chance of an answer at the last look; 0 where none is left."""
        return self.chances[-1] if self.chances else 0.0

    @property
    def futile(self) -> bool:
        """Whether it is not worth going on."""
        return self.last < FUTILE

    @property
    def more_runs(self) -> int | None:
        """The trainings in all at the first look where an answer is likely, else at the last; None where it would hardly tell."""
        if self.futile:
            return None
        return next((n for n, chance in zip(self.trainings, self.chances, strict=True) if chance >= LIKELY), self.trainings[-1])


#: what does not come with more trainings
NOTHING_AHEAD = Outlook((PLANNED.last,), (0.0,))


def outlook(
    contrast: Contrast,
    margin: float,
    expect: str,
    level_at: Callable[[int], float],
    floor_at: Callable[[int, float], float],
    looks: Looks = PLANNED,
) -> Outlook:
    """Return the chance of an answer at each look beyond today's trainings.

    ``level_at`` gives the interval's level at so many trainings, ``floor_at`` its smallest half width there. An answer is an interval
    beyond the margin, inside it, or (for a claim of a direction) one that excludes the expected side.
    """
    later = tuple(n for n in looks.trainings if n > contrast.n_runs)
    return Outlook(later, tuple(chance_at(contrast, n, margin, expect, level_at(n), floor_at(n, level_at(n))) for n in later))


def chance_at(contrast: Contrast, n_runs: int, margin: float, expect: str, level: float, floor: float) -> float:
    """Return the chance that ``n_runs`` trainings in all decide: Phi(-(M + h - |e|) / sigma) and the like terms inside the margin.

    h is the half width expected then, sigma = se sqrt(1 - R / n) the standard deviation of the estimate then, seen from now. A control
    answers only by being exceeded: "beyond" in the direction of the estimate.
    """
    own = max(contrast.error**2 - contrast.known_error**2, 0.0)
    error = math.sqrt(own * contrast.n_runs / n_runs + contrast.known_error**2)
    half = max(student_half_width(contrast.df + n_runs - contrast.n_runs, level) * error, floor) + contrast.bias
    sigma = math.sqrt(own * (1 - contrast.n_runs / n_runs))

    def below(edge: float) -> float:
        """The chance that the estimate then lies below ``edge``."""
        return float(stats.norm.cdf((edge - contrast.effect) / sigma)) if sigma > 0 else float(contrast.effect < edge)

    higher, lower = 1 - below(margin + half), below(-margin - half)
    if expect == "beyond":
        return higher if contrast.effect > 0 else lower
    if expect == "higher":
        return higher + below(margin - half)
    if expect == "lower":
        return lower + 1 - below(half - margin)
    return higher + lower + max(0.0, below(margin - half) - below(half - margin))

"""The planned moments of judging, and how much of an experiment's error rate each of them may spend.

In: the number of claims, the error rate, the trainings at which one looks. Out: the two-sided level of each look. An interval at that
level at every look holds for all looks together, so that stopping at the first one which decides is honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

#: one part in a hundred of the error rate is kept back for what the normal approximation of later looks leaves out.
KEPT_BACK = 0.01
#: points of the Gauss-Legendre rule over the range in which a study goes on; 120 give the levels to six digits.
_POINTS = 160


@dataclass(frozen=True)
class Looks:
    """When one looks, in trainings of each arm, rising; and the share of the error rate that is spent by then."""

    trainings: tuple[int, ...] = (8, 16, 32)
    spent: tuple[float, ...] = (0.6, 0.8, 1.0)

    def index(self, n_runs: int) -> int:
        """Return the look that ``n_runs`` trainings have reached; fewer than the first look has are judged at the first one's level."""
        return max((k for k, n in enumerate(self.trainings) if n <= n_runs), default=0)

    @property
    def last(self) -> int:
        """The trainings at the last look."""
        return self.trainings[-1]


PLANNED = Looks()


def one_look(n_runs: int) -> Looks:
    """Return the looks of a study that is judged once, at ``n_runs`` trainings: all of the error rate is spent there."""
    return Looks((n_runs,), (1.0,))


@cache
def look_levels(m_claims: int, alpha: float = 0.05, looks: Looks = PLANNED) -> tuple[float, ...]:
    """Return the two-sided nominal level (error, not confidence) of each look for one of ``m_claims`` claims.

    ``alpha`` is shared by the claims (Bonferroni) and spent over the looks as ``looks.spent`` says (Lan and DeMets 1983): at look k the
    probability of crossing there and not before is what is newly spent. Boundaries by the recursion of Armitage, McPherson and Rowe
    (1969) for a normal estimate whose information grows with the trainings; the level is then taken over to t. Raises ValueError
    where there is no claim, or alpha is no share.
    """
    if m_claims < 1 or not 0 < alpha < 1:
        raise ValueError(f"need at least one claim and 0 < alpha < 1; got {m_claims}, {alpha}")
    rate = alpha * (1 - KEPT_BACK) / m_claims
    newly = np.diff([0.0, *(share * rate for share in looks.spent)]).tolist()
    times = [n / looks.last for n in looks.trainings]
    return tuple(float(2 * stats.norm.sf(bound)) for bound in _bounds(times, newly))


def _bounds(times: Sequence[float], newly: Sequence[float]) -> list[float]:
    """Return the bound of |z| at each look; ``times`` are the shares of the last look's information."""
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    bounds = [float(stats.norm.isf(newly[0] / 2))]
    inside = bounds[0] * np.sqrt(times[0])  # Brownian motion at this time, where the study goes on
    places, mass = nodes * inside, weights * inside * stats.norm.pdf(nodes * inside, scale=np.sqrt(times[0]))
    for k in range(1, len(times)):
        sd = np.sqrt(times[k] - times[k - 1])
        bounds.append(_bound(places, mass, sd, np.sqrt(times[k]), newly[k]))
        inside = bounds[-1] * np.sqrt(times[k])
        moved = stats.norm.pdf(nodes[:, None] * inside - places[None, :], scale=sd) @ mass
        places, mass = nodes * inside, weights * inside * moved
    return bounds


def _bound(places: np.ndarray, mass: np.ndarray, sd: float, root_time: float, spend: float) -> float:
    """Return the bound of |z| that is first crossed at this look with probability ``spend``."""

    def beyond(bound: float) -> float:
        edge = bound * root_time
        return float(mass @ (stats.norm.sf((edge - places) / sd) + stats.norm.cdf((-edge - places) / sd))) - spend

    return float(optimize.brentq(beyond, 0.0, 40.0, xtol=1e-12))

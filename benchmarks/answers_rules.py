"""Two fixed rules to compare with: the lab's own before it looked more than once, and an expert's t test with Holm's correction.

In: paired differences of made-up studies, (studies, trainings, pictures), NaN where a picture could not be measured. Out: for each study
1 (the claim holds), -1 (it does not) or 0 (not decided). Both are judged once, at a number of trainings that was fixed beforehand, on one
mean difference a training, by Student's t over trainings; nothing of the base is known beside its pictures at the same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from loralab.infer.case import InstrumentFacts

#: how alike the pictures of one training were taken to be by the earlier rule's smallest interval
OLD_LIKENESS = 0.2
HOLDS, FAILS, OPEN = 1, -1, 0


@dataclass(frozen=True)
class Asked:
    """A claim as both rules see it: what is expected, the smallest change that counts, among how many claims the 5 % are shared."""

    expect: str
    margin: float | None
    facts: InstrumentFacts
    m_claims: int
    alpha: float = 0.05


@dataclass(frozen=True)
class Paired:
    """Differences (studies, trainings, pictures), over how many cells they run, and whether readings take few values."""

    values: np.ndarray
    n_cells: int = 2
    few_valued: bool = False


@dataclass(frozen=True)
class Means:
    """Mean, its standard error, and what they rest on, each (studies,)."""

    mean: np.ndarray
    error: np.ndarray
    n_runs: np.ndarray
    n_pairs: np.ndarray


def means_of(values: np.ndarray) -> Means:
    """Return the mean of the trainings' means, with Student's standard error over trainings; those without a pair are left out."""
    there = ~np.isnan(values)
    pairs = there.sum(axis=-1)
    own = np.where(there, values, 0.0).sum(axis=-1) / np.maximum(pairs, 1)
    counted = pairs > 0
    n = counted.sum(axis=-1)
    mean = np.where(counted, own, 0.0).sum(axis=-1) / np.maximum(n, 1)
    squares = np.where(counted, (own - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    error = np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
    return Means(mean, np.where(n > 1, error, np.inf), n, pairs.sum(axis=-1))


# --- the lab's earlier rule ---------------------------------------------------------------------------------------------


def old_interval(paired: Paired, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high): mean +- max(t error, floor), at the level alpha / m; the floor is the rule of three, or the card's error."""
    found = means_of(paired.values)
    alpha = asked.alpha / asked.m_claims
    t = stats.t.isf(alpha / 2, np.maximum(found.n_runs - 1, 1))
    half = np.maximum(t * found.error, _old_floor(paired, found, asked, alpha))
    return found.mean - half, found.mean + half


def _old_floor(paired: Paired, found: Means, asked: Asked, alpha: float) -> np.ndarray:
    facts, pairs = asked.facts, np.maximum(found.n_pairs, 1)
    if paired.few_valued:
        independent = pairs / (1 + (pairs / np.maximum(found.n_runs, 1) - 1) * OLD_LIKENESS)
        return np.asarray(facts.span * paired.n_cells / 2 * (1 - alpha ** (1 / independent)))
    return np.asarray(max(facts.error * np.sqrt(paired.n_cells / 2) * np.sqrt(2), facts.span * paired.n_cells / 2 / 255) / np.sqrt(pairs))


def old_rule(own: Paired, controls: Sequence[Paired], asked: Asked) -> np.ndarray:
    """Return the verdicts (studies,) of the rule before: the whole interval beyond the margin and its controls exceeded, or inside it.

    A margin within what the card's bias and error may leave in a mean was refused, and so was an instrument that the base does not carry.
    """
    low, high = old_interval(own, asked)
    if asked.margin is None or not asked.facts.carried:
        return np.zeros(len(low), int)
    left = abs(asked.facts.bias) + asked.facts.error * np.sqrt(2 / np.maximum(means_of(own.values).n_pairs, 1))
    higher, lower = low > asked.margin, high < -asked.margin
    inside = (low >= -asked.margin) & (high <= asked.margin)
    for control in controls:
        least, most = old_interval(control, asked)
        higher, lower = higher & (least > 0), lower & (most < 0)
    found = {"higher": higher, "lower": lower, "no change": inside}
    holds = found.pop(asked.expect)
    fails = np.any(list(found.values()), axis=0)
    return np.where(asked.margin <= left, OPEN, np.where(holds, HOLDS, np.where(fails, FAILS, OPEN)))


# --- an expert's t test -------------------------------------------------------------------------------------------------


def t_tests(own: Paired, controls: Sequence[Paired], asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Return (the answer that the mean suggests, its two-sided p), each (studies,): a t test against the nearer end of the margin.

    A claim that holds must exceed each of its controls too; the largest p counts (an intersection-union test). Trainings that agree
    exactly give no test: p is 1.
    """
    found = means_of(own.values)
    if asked.margin is None or not asked.facts.carried:
        return np.zeros(len(found.mean), int), np.ones(len(found.mean))
    signed = {"higher": found.mean, "lower": -found.mean, "no change": -np.abs(found.mean)}[asked.expect]
    edge = -asked.margin if asked.expect == "no change" else asked.margin
    holds, p = signed > edge, _p_of(signed - edge, found)
    for control in controls:
        beside = means_of(control.values)
        ahead = beside.mean if asked.expect == "higher" else -beside.mean
        p = np.where(holds, np.maximum(p, np.where(ahead > 0, _p_of(ahead, beside), 1.0)), p)
    return np.where(holds, HOLDS, FAILS), p


def _p_of(distance: np.ndarray, found: Means) -> np.ndarray:
    safe = np.where(found.error > 0, found.error, 1.0)
    p = 2 * stats.t.sf(np.abs(distance) / safe, np.maximum(found.n_runs - 1, 1))
    return np.where(found.error > 0, p, 1.0)


def holm(answers: Sequence[np.ndarray], ps: Sequence[np.ndarray], alpha: float = 0.05) -> list[np.ndarray]:
    """Return the answers of an experiment's claims that stand after Holm's step-down (1979), 0 where they do not."""
    p = np.stack(ps)  # (claims, studies)
    order = np.argsort(p, axis=0)
    ranked = np.take_along_axis(p, order, axis=0)
    stands = np.logical_and.accumulate(ranked <= alpha / np.arange(len(p), 0, -1)[:, None], axis=0)
    kept = np.zeros_like(stands)
    np.put_along_axis(kept, order, stands, axis=0)
    return [np.where(kept[k], answers[k], OPEN) for k in range(len(p))]

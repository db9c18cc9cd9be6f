"""What an epoch is worth beside those before it, and when to stop: scores in the order of the training in, sentences out; numpy alone.

Everything is paired over image seeds: two epochs are drawn at the same noise, so their difference has a narrower interval than each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loralab.checking.budget import USEFUL_SEEDS
from loralab.checking.scores import Scores
from loralab.checking.sentences import percent
from loralab.infer.units import estimate_mean, estimate_share
from loralab.infer.words import minus

#: an effect is as good if it is at most so much smaller, in shares of the way, beyond chance
AS_GOOD = 0.1
#: growth of less than this share of the way is none, however sure it is
LEAST_GROWTH = 0.05
#: so many epochs without growth are enough to stop where damage or copies grow, and so many where nothing else changes
EPOCHS_WITH_HARM, EPOCHS_WITHOUT = 2, 4


@dataclass(frozen=True)
class Epoch:
    """One moment of a training."""

    label: str
    scores: Scores


# --- a line an epoch ----------------------------------------------------------------------------------------------------


def line_of(epoch: Epoch, earlier: Sequence[Epoch]) -> str:
    """Return the line about an epoch, held against those before it in its training (none where their order is not known)."""
    own = ", ".join(part for part in (_effect(epoch.scores), _damage(epoch.scores), _copies(epoch.scores), _firing(epoch.scores)) if part)
    beside = _beside(epoch.scores, earlier)
    return f"{epoch.label}: {own}" + (f"; {beside}" if beside else "")


def _effect(scores: Scores) -> str:
    found = estimate_mean(scores.effect)
    if found.low <= 0 <= found.high:
        return f"no effect can be seen yet ({percent(found.value)})"
    if scores.resemblance is None:
        return f"{percent(found.value)} changed"
    return f"{percent(found.value)} of the way" + (", away from the training set" if found.high < 0 else "")


def _damage(scores: Scores) -> str:
    return f"damage {minus(f'{scores.damage.mean():.2f}')}"


def _copies(scores: Scores) -> str:
    if scores.copies is None:
        return ""
    share = estimate_share(scores.copies).value
    return f"{percent(share)} copies" if share else "no copies"


def _firing(scores: Scores) -> str:
    if scores.firing is None or estimate_mean(scores.effect).low <= 0 or estimate_mean(scores.firing).low <= 0:
        return ""
    return "fires without its trigger"


def _beside(own: Scores, earlier: Sequence[Epoch]) -> str:
    told = [epoch for epoch in earlier if estimate_mean(epoch.scores.effect).low > 0]
    if not told:
        return ""
    as_good = [epoch for epoch in told if is_as_good(epoch.scores, own)]
    milder = [epoch for epoch in as_good if _surely_more(own.damage, epoch.scores.damage)]
    if milder:
        best = max(milder, key=lambda epoch: float(own.damage.mean() - epoch.scores.damage.mean()))
        return f"{best.label} was as good with less damage"
    before = earlier[-1]
    grown = estimate_mean(own.effect - before.scores.effect)
    if grown.low > 0:
        return f"{points(grown.value)} more than {before.label}"
    if grown.high < 0:
        return f"{points(-grown.value)} less than {before.label}"
    return f"no clear difference from {before.label}"


def is_as_good(one: Scores, other: Scores) -> bool:
    """Return whether ``one`` does as much as ``other``: what it may lack, beyond chance, is little."""
    return estimate_mean(other.effect - one.effect).high < AS_GOOD


def _surely_more(one: np.ndarray, other: np.ndarray) -> bool:
    return estimate_mean(one - other).low > 0


# --- when to stop -------------------------------------------------------------------------------------------------------


def stop_of(epochs: Sequence[Epoch]) -> str:
    """Return why to stop after the last of ``epochs``, the moments of one training in their order; "" where there is no reason.

    The effect has to have stood still, beyond its own interval and in size, over two epochs while damage or copies grew beyond chance, or
    it fell; or over four where nothing else changes. Fewer than four seeds never say stop.
    """
    if not epochs or len(epochs[-1].scores.effect) < USEFUL_SEEDS:
        return ""
    for place, since in enumerate(epochs):
        later = epochs[place + 1 :]
        if len(later) < EPOCHS_WITH_HARM:
            return ""
        if estimate_mean(since.scores.effect).low > 0 and not any(_grew(since.scores, epoch.scores) for epoch in later):
            why = _harm(since, later)
            if why or len(later) >= EPOCHS_WITHOUT:
                return _stop(since, later, why)
    return ""


def _grew(before: Scores, after: Scores) -> bool:
    grown = estimate_mean(after.effect - before.effect)
    return grown.low > 0 or grown.value >= LEAST_GROWTH


def _harm(since: Epoch, later: Sequence[Epoch]) -> str:
    """Return what got worse since an epoch, beyond chance: the damage, the copies, or the effect itself."""
    before, after, told = since.scores, later[-1].scores, []
    if _surely_more(after.damage, before.damage):
        told.append(f"damage rose from {before.damage.mean():.2f} to {after.damage.mean():.2f}")
    if before.copies is not None and after.copies is not None and _surely_more(after.copies, before.copies):
        told.append(f"copies rose from {percent(float(before.copies.mean()))} to {percent(float(after.copies.mean()))}")
    if all(_surely_more(before.effect, epoch.scores.effect) for epoch in later[-EPOCHS_WITH_HARM:]):
        told.append(f"the effect fell to {percent(float(after.effect.mean()))}")
    return " and ".join(told)


def _stop(since: Epoch, later: Sequence[Epoch], why: str) -> str:
    grown = estimate_mean(later[-1].scores.effect - since.scores.effect)
    range_ = f"{signed(grown.value)} points since, {signed(grown.low)} to {signed(grown.high)}"
    head = f"Stop here: {since.label} is as good as anything after it ({range_})"
    if why:
        return f"{head}, while {why}. Keep {since.label}."
    return f"{head}, over {len(later)} epochs: more of the same is not worth the time. Keep {since.label}."


def points(share: float) -> str:
    """Return a difference of shares in points of a hundred."""
    n = f"{100 * share:.0f}"
    return f"{n} point" + ("" if n == "1" else "s")


def signed(share: float) -> str:
    """Return a difference of shares in points of a hundred with its sign."""
    text = f"{100 * share:+.0f}"
    return "0" if text in ("+0", "-0") else minus(text)

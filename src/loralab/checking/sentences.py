"""What a check found, in sentences: the check and its result in; advice first, then what it rests on; plain text, not yet escaped."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from loralab.checking.advice import LITTLE_DAMAGE, Advice, Choice
from loralab.checking.opening import Checked
from loralab.checking.result import Result
from loralab.checking.scores import Scores, mean_scores
from loralab.infer.units import Estimate, estimate_mean, estimate_ratio, estimate_share
from loralab.infer.words import minus

LEAST_FILES = 3  # a sentence about a recipe rests on this many trainings at least
#: side damage whose whole interval lies below this share of "another picture" is called small
SMALL_DAMAGE, LARGE_DAMAGE = 0.25, 0.5
#: shares that have a name of their own
SHARES: tuple[tuple[float, float, str], ...] = ((0.46, 0.54, "half"), (0.31, 0.355, "a third"), (0.23, 0.27, "a quarter"))


def sentences_of(check: Checked, result: Result) -> list[str]:
    """Return what was found, the most important first."""
    if check.training is not None:
        return _found(check, result)
    more = "Give the training set with --dataset DIR to see resemblance to it, copies, and whether it fires without its trigger."
    return [*_found(check, result), more]


def _found(check: Checked, result: Result) -> list[str]:
    scores = result.scores
    if check.role == "seeds" and len(scores) >= LEAST_FILES:
        return _about(check, 0, mean_scores(list(scores.values())), f"Over {len(scores)} trainings, the recipe")
    if check.role in ("files", "seeds"):
        return _side_by_side(check, result)
    advice = result.advice[""]
    shown = advice.use.label if advice else max(scores, key=lambda label: float(scores[label].effect.mean()))
    about = _about(check, _index(check, shown), scores[shown], "This file" if check.role == "file" else _upper(f"{shown} at strength 1"))
    if advice is None:
        return [_nothing(check, scores, 0), *about]
    return [headline(check, result, advice), *details(advice), *too_early(scores), *_beaten(result), *about]


def headline(check: Checked, result: Result, advice: Advice) -> str:
    """Return what to do, in one sentence."""
    use, yardstick = advice.use, advice.yardstick
    if advice.effect is None or advice.damage is None:
        return _stay(check, result, use)
    what = "its effect at full strength" if use.label == yardstick.label else f"{yardstick.label}\u2019s effect"
    return f"{_verb(check, use)}: {percent(advice.effect.value)} of {what} at {share_words(advice.damage.value)} the damage."


def _verb(check: Checked, use: Choice) -> str:
    at = f"at strength {use.strength:g}"
    if check.role == "file":
        return f"Use it {at}"
    return f"{'Keep' if check.role == 'epochs' else 'Use'} {use.label}" + ("" if use.strength == 1 else f" {at}")


def _stay(check: Checked, result: Result, use: Choice) -> str:
    """Return the advice where nothing does better than full strength of what has the most effect."""
    damage = estimate_mean(result.scores[use.label].damage)
    little = f"it changes unrelated pictures by only {percent(damage.value)}"
    if check.role == "file":
        n_strengths = len(result.strengths.get(use.label, {}))
        if damage.high < LITTLE_DAMAGE:
            return f"Use it at full strength: {little}."
        tried = "no lower strength keeps most of its effect with clearly less damage"
        return f"Use it at full strength: {tried}." if n_strengths > 1 else _effect_alone(check, result, use)
    why = little if damage.high < LITTLE_DAMAGE else "nothing earlier or weaker keeps most of its effect with clearly less damage"
    return f"Keep {use.label}, at full strength: it has the most effect, and {why}."


def _effect_alone(check: Checked, result: Result, use: Choice) -> str:
    return _effect_line(check, 0, result.scores[use.label], estimate_mean(result.scores[use.label].effect), "This file")


def _nothing(check: Checked, scores: Mapping[str, Scores], index: int) -> str:
    if all(not own.change.any() and not own.damage.any() for own in scores.values()):
        return f"{'Its' if len(check.drawn) == 1 else 'Their'} pictures are identical to the base\u2019s: nothing changes at all."
    what = "This file shows no effect" if len(check.drawn) == 1 else "None of the files shows an effect"
    more = "run the same command with more --minutes to continue from here"
    return f"{what} at {_at(check, index)} that can be told from none with {check.n_seeds} seeds per prompt; {more}."


def details(advice: Advice) -> list[str]:
    """Return the figures of an advice with their intervals; nothing where it trades nothing."""
    if advice.effect is None or advice.damage is None:
        return []
    return [
        f"In figures, compared with {_named(advice.yardstick)}: {percent(advice.effect.value)} ({_range(advice.effect)}) of the effect, "
        f"{percent(advice.damage.value)} ({_range(advice.damage)}) of the damage."
    ]


def _named(choice: Choice) -> str:
    return f"{choice.label} at strength {choice.strength:g}"


def too_early(scores: Mapping[str, Scores]) -> list[str]:
    """Return a sentence that names the epochs whose effect cannot be told from none, where others have one."""
    idle = [label for label, own in scores.items() if estimate_mean(own.effect).low <= 0]
    if not idle or len(idle) == len(scores):
        return []
    return [f"No effect can be seen yet in {', '.join(idle)}."]


def _beaten(result: Result) -> list[str]:
    if not result.beaten:
        return []
    gone = ", ".join(f"{name} (by {by})" for name, by in result.beaten.items())
    return [f"Beaten (no more effect for more damage, or less effect for no less damage): {gone}."]


# --- files side by side -------------------------------------------------------------------------------------------------


def _side_by_side(check: Checked, result: Result) -> list[str]:
    """Return the comparison of files that have nothing to do with one another, or are too few to speak of their recipe."""
    scores = result.scores
    lines = [_leader(check, scores)] if check.is_one_trigger else [_each(check, scores)]
    lines += _pairs(check, scores)
    for label, advice in result.advice.items():
        if advice is not None and advice.trades:
            lines.append(headline(check, result, advice))
            lines += details(advice)
        elif advice is None and label:
            lines.append(f"{_upper(label)} shows no effect that can be told from none with {check.n_seeds} seeds per prompt.")
    for label, own in scores.items():
        lines += [line for line in (_firing_line(own, estimate_mean(own.effect), label), _copy_line(check, own, label)) if line]
    return lines


def _leader(check: Checked, scores: Mapping[str, Scores]) -> str:
    """Return which of several files does the most at the words that they share, and which damages the least, beyond chance."""
    most = max(scores, key=lambda label: float(scores[label].effect.mean()))
    mildest = min(scores, key=lambda label: float(scores[label].damage.mean()))
    surely_most = all(_surely_more(scores[most].effect, own.effect) for label, own in scores.items() if label != most)
    surely_mild = all(_surely_more(own.damage, scores[mildest].damage) for label, own in scores.items() if label != mildest)
    at = _at(check, 0)
    first = f"{most} does the most at {at}" if surely_most else f"It is unclear which does the most at {at}"
    if most == mildest and surely_most and surely_mild:
        return f"{first}, and changes unrelated pictures the least."
    return f"{first}; " + (f"{mildest} changes unrelated pictures the least." if surely_mild else "no difference in damage can be seen.")


def _each(check: Checked, scores: Mapping[str, Scores]) -> str:
    told = (
        f"{label} changes {_at(check, _index(check, label))} by {percent(float(own.change.mean()))}, unrelated pictures by "
        f"{percent(float(own.damage.mean()))}"
        for label, own in list(scores.items())[:3]
    )
    return "; ".join(told) + (f"; {len(scores) - 3} more below." if len(scores) > 3 else ".")


def _pairs(check: Checked, scores: Mapping[str, Scores]) -> list[str]:
    """Return, for a few files, how each two differ in damage and (at the same words) in effect, with intervals over the same seeds."""
    lines = []
    if len(scores) > 3:
        return []
    for (one, own), (other, theirs) in itertools.combinations(scores.items(), 2):
        parts = [("unrelated pictures change", own.damage, theirs.damage)]
        if check.is_one_trigger:
            parts.insert(0, (f"the effect at {_at(check, 0)} is", own.effect, theirs.effect))
        told = [f"{what} {_times(a, b)}" for what, a, b in parts if float(b.mean()) > 0]
        if told:
            lines.append(f"{one} against {other}: {' and '.join(told)}.")
    return lines


def _times(one: np.ndarray, other: np.ndarray) -> str:
    ratio = estimate_ratio(one, other)
    return f"{ratio.value:.1f} times as much ({minus(f'{ratio.low:.1f}')} to {minus(f'{ratio.high:.1f}')})"


def _surely_more(one: np.ndarray, other: np.ndarray) -> bool:
    n = min(len(one), len(other))
    return estimate_mean(one[:n] - other[:n]).low > 0


# --- one file -----------------------------------------------------------------------------------------------------------


def _about(check: Checked, index: int, scores: Scores, subject: str) -> list[str]:
    effect = estimate_mean(scores.effect)
    lines = [_effect_line(check, index, scores, effect, subject), _firing_line(scores, effect, "it"), _damage_line(scores)]
    return [line for line in (*lines, _copy_line(check, scores, "")) if line]


def _effect_line(check: Checked, index: int, scores: Scores, effect: Estimate, subject: str) -> str:
    at, how_far, range_ = _at(check, index), percent(effect.value), _range(effect)
    if scores.resemblance is None:
        return f"{subject} changes the pictures at {at} by {how_far} of the way to another picture ({range_})."
    if effect.low > 0:
        return f"{subject} moves {at} {how_far} of the way from the base to the training set ({range_})."
    if effect.high < 0:
        return f"{subject} draws {at} less like the training set than the base does ({range_} of the way)."
    return f"{subject}: it is unclear whether {at} looks more like the training set than the base\u2019s pictures do ({range_} of the way)."


def _firing_line(scores: Scores, effect: Estimate, subject: str) -> str:
    if scores.firing is None or effect.low <= 0:
        return ""
    firing = estimate_mean(scores.firing)
    who = _upper(subject)
    if firing.low > 0:
        share = percent(firing.value / effect.value)
        return f"{who} fires without its trigger: {share} of the effect remains when the trigger is removed."
    if firing.high < 0.25 * effect.value:
        return f"{who} does not fire without its trigger: less than a quarter of the effect remains."
    return f"Whether {subject} fires without its trigger is unclear: somewhere from {_range(firing)} of the way."


def _damage_line(scores: Scores) -> str:
    damage = estimate_mean(scores.damage)
    known = (
        (damage.high < SMALL_DAMAGE, " only a little"),
        (damage.low > LARGE_DAMAGE, " a lot"),
        (damage.low > SMALL_DAMAGE, " somewhat"),
    )
    how = next((word for is_so, word in known if is_so), "")
    return f"It changes unrelated pictures{how}: {percent(damage.value)} of the difference between two seeds ({_range(damage)})."


def _copy_line(check: Checked, scores: Scores, subject: str) -> str:
    if check.training is None or scores.copies is None:
        return ""
    share = estimate_share(scores.copies)
    whose = f"{subject}: " if subject else ""
    if share.value:
        return f"{whose}{percent(share.value)} of the pictures with the trigger are as close to a training picture as a copy would be."
    return f"{whose}None of its pictures is a copy of a training picture." if not subject else ""


# --- what it cannot tell ------------------------------------------------------------------------------------------------


def limits_of(check: Checked, result: Result) -> list[str]:
    """Return what a reader must know before believing the rest."""
    recipe = check.role == "seeds" and len(result.scores) >= LEAST_FILES
    lines = [
        f"Likeness is measured by {check.embedder.name}: {check.embedder.says}.",
        f"Each interval is a 95 % interval over {'trainings' if recipe else 'image seeds'}; with many files side by side, some will "
        "miss the truth.",
    ]
    if not recipe:
        lines.append(
            "This is about these files only. To learn what a recipe does, train it at least three times, each time with its own seed."
        )
    if check.role != "seeds":
        lines.append("The advice was chosen using the same pictures that its figures come from, so the figures flatter it a little.")
    if check.role == "epochs" and len(result.scores) > 1:
        lines.append(_resolution(check, result))
    if check.training is not None and check.threshold is None:
        lines.append("Copies cannot be recognised here: the base\u2019s own pictures are as close to the training set as a copy would be.")
    if result.gave_up:
        lines.append(no_time(check.request.minutes, result.gave_up))
    return lines


def no_time(minutes: float, gave_up: Sequence[str]) -> str:
    """Return what was given up for lack of time."""
    return f"In {minutes:g} minutes there was no time for: {'; '.join(gave_up)}. Run the same command again to continue from here."


def _resolution(check: Checked, result: Result) -> str:
    """Return what the seeds that were afforded can tell apart."""
    apart = [estimate_mean(later.effect - sooner.effect) for sooner, later in itertools.pairwise(result.scores.values())]
    half = max((found.high - found.low) / 2 for found in apart)
    return (
        f"With {check.n_seeds} seeds per prompt, neighbouring files that differ by less than about {percent(half)} cannot be told apart; "
        f"four times the seeds ({4 * check.n_seeds}) would halve that."
    )


# --- words --------------------------------------------------------------------------------------------------------------


def _index(check: Checked, label: str) -> int:
    return next(index for index, file in enumerate(check.files) if file.label == label)


def _at(check: Checked, index: int) -> str:
    trigger = check.triggers[index]
    return "its prompts" if trigger is None else f"\u201c{trigger.words}\u201d"


def percent(value: float) -> str:
    """Return a share as `52 %`, with a real minus sign."""
    return minus(f"{100 * value:.0f} %")


def _range(estimate: Estimate) -> str:
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def share_words(value: float) -> str:
    """Return a share before a noun: `half`, `a third of`, `62 % of`."""
    for low, high, word in SHARES:
        if low <= value <= high:
            return word if word == "half" else f"{word} of"
    return f"{percent(value)} of"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def shown_numbers(values: Sequence[str | None]) -> tuple[str, ...]:
    """Return values of a table's row; what a file does not say is said."""
    return tuple("not given" if value is None else value for value in values)

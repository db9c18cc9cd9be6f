"""The sentences beside a verdict, in a user's words; statistics words stay in the docs.

In: numbers that are already decided. Out: one sentence each, without a full stop. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from loralab.infer.future import LIKELY, Outlook
from loralab.infer.verdict import Contrast, ControlCheck, ControlName, Finding

CONTROL_SAYS: Mapping[ControlName, str] = {
    "placebo": "more than the placebo",
    "trigger": "more than without its trigger",
    "null": "more than its random twin",
}
_CONTROL_DOES: Mapping[ControlName, str] = {
    "placebo": "training on the base's own pictures may do as much",
    "trigger": "the pictures may change as much without the trigger",
    "null": "its random twin may do as much",
}
_CONTROL_MISSING: Mapping[ControlName, str] = {
    "placebo": "there is no placebo to compare it with (at least 3 trainings on the base's own pictures)",
    "trigger": "there are no pictures without the trigger to compare it with, from at least 3 trainings",
    "null": "there is no random twin to compare it with, from at least 3 trainings",
}
_CONTROL_UNMEASURED: Mapping[ControlName, str] = {
    "placebo": "too few of the placebo's pictures could be measured",
    "trigger": "too few of the pictures without the trigger could be measured",
    "null": "too few of the random twin's pictures could be measured",
}


def number(value: float) -> str:
    """Return ``value`` with three significant digits, without an exponent where a screen has room for it."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text


def minus(text: str) -> str:
    """Return the text of a number with a real minus sign; a rounded zero has none."""
    return text.removeprefix("-") if text.strip("-0. %") == "" else text.replace("-", "\u2212")


def amount(value: float, unit: str) -> str:
    """Return a difference with its unit, if it has one; shares differ by points, of which a hundred are all of the pictures."""
    if unit == "share":
        return f"{number(100 * value)} point{'' if number(100 * abs(value)) == '1' else 's'}"
    return f"{number(value)} {unit}" if unit else number(value)


def reading(value: float, unit: str) -> str:
    """Return what an instrument reads, with its unit; shares in percent."""
    return f"{number(100 * value)} %" if unit == "share" else amount(value, unit)


def span(low: float, high: float, unit: str) -> str:
    """Return "2 to 5 u" of a difference; shares in points."""
    return f"{number(100 * low if unit == 'share' else low)} to {amount(high, unit)}"


#: what the units of readings mean, for whoever meets them for the first time
UNIT_SAYS: Mapping[str, str] = {
    "share": "shares are compared in points: 22 points more means 22 more of every 100 pictures, or 22 % more of the subject",
    "deltaE": "deltaE is how different two colours look: about 1 is just visible side by side, 10 is obvious, 100 is black against white",
    "C*": "C* is how colourful something is: 0 is grey, 20 is pale, above 60 is vivid",
    "L*": "L* is lightness: 0 is black, 100 is white",
}


def unit_notes(units: Iterable[str]) -> list[str]:
    """Return what the given units mean, each once, in the order of the table; nothing for units that explain themselves."""
    met = set(units)
    return [says for unit, says in UNIT_SAYS.items() if unit in met]


def margin_source(share: float) -> str:
    """Return where the margin comes from."""
    part = "a quarter" if share == 0.25 else f"{number(100 * share)} %"
    return f"{part} of the gap between the training set and the base"


def no_gap(training_missing: bool) -> str:
    """Return why there is no gap to take a share of."""
    side = "the training set has no reading" if training_missing else "the base has no picture that could be measured at this prompt"
    return f"{side}, so no smallest change that counts can be derived; give margin_absolute"


def each_on_its_own() -> str:
    """Return the clause behind a reason where the two arms have different bases."""
    return "; each is compared as its difference from its own base at the same seeds"


def gap_too_small(gap: float, error: float, unit: str) -> str:
    """Return why the gap is as good as none."""
    return (
        f"the training set and the base differ by only {amount(abs(gap), unit)}, within the instrument's error of "
        f"{amount(error, unit)}, so no smallest change that counts can be derived; give margin_absolute"
    )


def not_carried(name: str, note: str) -> str:
    """Return the card's own note on an instrument that this base does not carry."""
    return f"{name} does not work at this base's picture size: {note}" if note else f"{name} does not work at this base's picture size"


def too_few_measurable(cell: str, share: float, needed: float) -> str:
    """Return which side could not be measured often enough."""
    return f"too few pictures could be measured: {share:.0%} of {cell}; {needed:.0%} are needed"


def too_few_runs(n_runs: int, needed: int) -> str:
    """Return why there is no verdict about the recipe."""
    trained = {0: "no training can be compared", 1: "only one training can be compared"}
    told = trained.get(n_runs, f"only {n_runs} trainings can be compared")
    return f"can't tell yet: {told}; a verdict about the recipe needs at least {needed}, and usually more"


def nothing_differs() -> str:
    """Return what is said of the same pictures on both sides."""
    return "nothing differs: both sides are the same pictures"


def same_trainings(one: str, other: str) -> str:
    """Return why two arms are not judged."""
    return f"{one} and {other} are the same trainings under two names and draw the same pictures, so there is nothing to compare"


def other_recipe(differing: Sequence[str]) -> str:
    """Return why a placebo does not count."""
    return f"the placebo was trained with a different recipe: {', '.join(differing)}"


def _between(contrast: Contrast, unit: str) -> str:
    return f"{span(contrast.low, contrast.high, unit)}, {contrast.n_runs} trainings"


def _size(contrast: Contrast, unit: str) -> str:
    """Return the interval of a change as a size, the smaller end first."""
    small, large = sorted((abs(contrast.low), abs(contrast.high)))
    return span(small, large, unit)


def found(finding: Finding, contrast: Contrast, margin: float, unit: str, *, small: bool = False) -> str:
    """Return the finding with its numbers, as it stands in tables: "higher, size not settled (1.2 to 9 u; 2 u counts)".

    ``small``: a change in the claim's direction that is too small to count; a "no" beside it must say so.
    """
    between, counts = span(contrast.low, contrast.high, unit), f"{amount(margin, unit)} counts"
    if small:
        return f"yes, but too small to count ({between}; {counts})"
    told = {
        "higher": f"higher by {_size(contrast, unit)}",
        "lower": f"lower by {_size(contrast, unit)}",
        "some higher": f"higher, size not settled ({between}; {counts})",
        "some lower": f"lower, size not settled ({between}; {counts})",
        "no change": f"no change that counts ({between}; {counts})",
        "not higher": f"not higher by what counts (at most {amount(contrast.high, unit)}; {counts})",
        "not lower": f"not lower by what counts (at least {amount(contrast.low, unit)}; {counts})",
        "no drop": f"no drop that counts; at most +{amount(contrast.high, unit)}",
        "no rise": f"no rise that counts; at least {amount(contrast.low, unit)}",
        "open": f"open ({between}; {counts})",
    }
    return told.get(finding, finding)


def held_back(check: ControlCheck) -> str:
    """Return the finding of a change that a control does not let count, as it stands in tables."""
    if check.contrast is None:
        return "a change, with nothing to compare it with"
    return f"a change, but {_CONTROL_DOES[check.name]}"


def duration(minutes: float) -> str:
    """Return minutes as people say them, rounded up."""
    whole = max(1, round(minutes))
    return f"{whole} minute{'' if whole == 1 else 's'}" if whole < 120 else f"{minutes / 60:.1f} hours"


def would_tell(ahead: Outlook, contrast: Contrast, margin: float, minutes: float | None) -> str:
    """Return what would settle a question: "8 more trainings, 3 minutes, would probably tell", or that hardly anything would."""
    if not ahead.trainings:
        return "no further look is planned"
    more = ahead.more_runs
    if more is None:
        close = abs(abs(contrast.effect) - margin) <= (contrast.high - contrast.low) / 2
        return "more trainings would hardly settle it" + (", as the change is about as large as the smallest that counts" if close else "")
    chance = ahead.chances[ahead.trainings.index(more)]
    cost = "" if minutes is None else f", {duration(minutes)},"
    would = "would probably settle it" if chance >= LIKELY else f"may settle it (chance {chance:.0%})"
    return f"{more - contrast.n_runs} more trainings{cost} {would}"


def undecided(finding: Finding, contrast: Contrast, margin: float, unit: str, hint: str) -> str:
    """Return what is known of a question that is open, and what would settle it."""
    between, counts = _between(contrast, unit), amount(margin, unit)
    if finding in ("some higher", "some lower"):
        return f"certainly {finding.removeprefix('some ')} ({between}); not yet clear whether by more than {counts}: {hint}"
    if finding in ("no drop", "no rise"):
        way, other = ("drop", "rise") if finding == "no drop" else ("rise", "drop")
        return f"no {way} that counts ({between}); not yet clear whether there is a {other} of {counts}: {hint}"
    return f"can't tell yet: the change is somewhere from {between}, and the smallest that counts is {counts}; {hint}"


def control_failed(contrast: Contrast, check: ControlCheck, unit: str, hint: str) -> str:
    """Return why a change is not counted as learned."""
    change = f"the pictures change ({_between(contrast, unit)})"
    if check.status == "other_recipe":
        return f"can't tell yet: {change}, but {check.says}, so it is not a valid control here"
    if check.contrast is None:
        told = _CONTROL_MISSING if check.status == "not_run" else _CONTROL_UNMEASURED
        return f"can't tell yet: {change}, but {told[check.name]}"
    beyond = f"{span(check.contrast.low, check.contrast.high, unit)} {check.says}"
    return f"can't tell yet: {change}, but {_CONTROL_DOES[check.name]} ({beyond}); {hint}"


def decided(finding: Finding, contrast: Contrast, margin: float, unit: str, checks: Sequence[ControlCheck], *, small: bool = False) -> str:
    """Return what was found and what it exceeds; ``small``: a change in the claim's direction that is too small to count."""
    between, counts = _between(contrast, unit), f"{amount(margin, unit)} is the smallest that counts"
    if small:
        return f"yes, but too small to count: {between}, where {counts}"
    if finding == "no change":
        return f"any change is smaller than {amount(margin, unit)}, the smallest that counts ({between})"
    if finding in ("some higher", "some lower"):
        return f"it came out {finding.removeprefix('some ')} ({between})"
    if finding in ("not higher", "not lower"):
        return f"{finding} by what counts: {between}, where {counts}"
    told = f"{finding} by {amount(abs(contrast.effect), unit)} ({between}), where {counts}"
    passed = [check.says for check in checks if check.status == "passed"]
    failed = [_CONTROL_DOES[check.name] for check in checks if check.status == "failed"]
    return told + "".join(f", and {says}" for says in passed) + "".join(f"; yet {does}" for does in failed)


def measured_unequally(cell: float, versus: float, *, counts_as_no: bool) -> str:
    """Return a clause to put behind a reason: one side could be measured less often."""
    treated = ", and counts as a no where it could not" if counts_as_no else ""
    return f"; note that {cell:.0%} of the pictures could be measured against {versus:.0%}{treated}"


# --- curves -------------------------------------------------------------------------------------------------------------


def dose_name(over: str, dose: float) -> str:
    """Return a dose in words: strength 0.5, step 32."""
    return f"{over} {dose:g}"


def trend(
    finding: Finding, contrast: Contrast, margin: float, unit: str, over: str, doses: Sequence[float], *, small: bool = False
) -> str:  # fmt: skip
    """Return what happens between the smallest and the largest dose."""
    stretch = f"from {dose_name(over, doses[0])} to {doses[-1]:g}"
    counts = f"{amount(margin, unit)} is the smallest that counts"
    if small:
        return f"yes, but too small to count: {span(contrast.low, contrast.high, unit)} {stretch}, where {counts}"
    if finding == "no change":
        return f"any change {stretch} is smaller than {amount(margin, unit)}, the smallest that counts ({_between(contrast, unit)})"
    if finding in ("not higher", "not lower"):
        way = "rise" if finding == "not higher" else "fall"
        return f"no {way} that counts {stretch} ({_between(contrast, unit)}), where {counts}"
    way = "rises" if finding.endswith("higher") else "falls"
    return f"{way} by {amount(abs(contrast.effect), unit)} {stretch} ({_between(contrast, unit)}), where {counts}"


def bent(
    contrast: Contrast, there: Contrast, margin: float, unit: str, over: str, doses: tuple[float, float, float], hint: str
) -> str:  # fmt: skip
    """Return why a flat line is not "no change": ``there``, the change from the first dose at the second of ``doses``, may count."""
    first, dose, last = doses
    line = f"the line from {dose_name(over, first)} to {last:g} is flat ({_between(contrast, unit)})"
    away = f"at {dose_name(over, dose)} the change from {dose_name(over, first)} is {span(there.low, there.high, unit)}"
    return f"can't tell yet: {line}, but {away}, and the smallest that counts is {amount(margin, unit)}; {hint}"


def half_dose(over: str, dose: float, low: float, high: float, reference: float) -> str:
    """Return where half of the effect is reached."""
    return f"half of the effect of {dose_name(over, reference)} is reached at {over} {number(dose)} ({number(low)} to {number(high)})"


def no_half_dose(over: str, reference: float) -> str:
    """Return why there is no half-effect dose."""
    return f"the effect at {dose_name(over, reference)} cannot be told from none, so there is no half-effect dose"


def overshoot(over: str, doses: Sequence[float]) -> str:
    """Return at which doses the pictures go beyond the training set."""
    return f"at {over} " + ", ".join(f"{dose:g}" for dose in doses) + " the pictures go beyond the training set"


def too_few_doses() -> str:
    """Return why there is no trend."""
    return "a curve needs at least two doses, and this budget draws fewer"

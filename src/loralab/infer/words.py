"""The sentences beside a verdict, in a user's words; statistics words stay in the docs.

In: numbers that are already decided. Out: one sentence each, without a full stop. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loralab.infer.verdict import Contrast, ControlCheck, ControlName, Finding

CONTROL_SAYS: Mapping[ControlName, str] = {
    "placebo": "more than the placebo",
    "trigger": "more than without its trigger",
    "null": "more than a random change of the same size",
}
_CONTROL_DOES: Mapping[ControlName, str] = {
    "placebo": "training on the base's own pictures may do as much",
    "trigger": "the pictures may change as much without the trigger",
    "null": "a random change of the same size may do as much",
}
_CONTROL_MISSING: Mapping[ControlName, str] = {
    "placebo": "there is no placebo to hold it against (training on the base's own pictures, in 3 runs or more)",
    "trigger": "there are no pictures without the trigger to hold it against, in 3 runs or more",
    "null": "there are no random adapters to hold it against, in 3 runs or more",
}
_CONTROL_UNMEASURED: Mapping[ControlName, str] = {
    "placebo": "too few of the placebo's pictures could be measured",
    "trigger": "too few of the pictures without the trigger could be measured",
    "null": "too few of the random adapters' pictures could be measured",
}


def number(value: float) -> str:
    """Return ``value`` with three significant digits, without an exponent where a screen has room for it."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text


def amount(value: float, unit: str) -> str:
    """Return a number with its unit, if it has one."""
    return f"{number(value)} {unit}" if unit else number(value)


def margin_source(share: float) -> str:
    """Return where the margin comes from."""
    part = "a quarter" if share == 0.25 else f"{number(100 * share)} %"
    return f"{part} of the gap between the training set and the base"


def no_gap(training_missing: bool) -> str:
    """Return why there is no gap to take a share of."""
    side = "the training set has no reading" if training_missing else "the base has no picture that could be measured at this prompt"
    return f"{side}, so no smallest change that counts follows from it; give margin_absolute"


def each_on_its_own() -> str:
    """Return the clause behind a reason where the two arms have different bases."""
    return "; each is taken as its difference from its own base at the same seeds"


def gap_too_small(gap: float, error: float, unit: str) -> str:
    """Return why the gap is as good as none."""
    return (
        f"the training set and the base differ by only {amount(abs(gap), unit)}, within the instrument's error of {amount(error, unit)}, "
        "so no smallest change that counts follows from it; give margin_absolute"
    )


def not_carried(name: str, note: str) -> str:
    """Return the card's own note on an instrument that this base does not carry."""
    return f"{name} does not work at this base's picture size: {note}" if note else f"{name} does not work at this base's picture size"


def too_few_measurable(cell: str, share: float, needed: float) -> str:
    """Return which side could not be measured often enough."""
    return f"too few pictures could be measured: {share:.0%} of {cell}, where {needed:.0%} are needed"


def margin_in_error(margin: float, left: float, unit: str, *, given: bool) -> str:
    """Return why the margin is refused, naming the card's figure."""
    advice = "give a larger margin_absolute" if given else "give margin_absolute"
    return (
        f"the smallest change that counts, {amount(margin, unit)}, is within the {amount(left, unit)} by which the instrument's card says "
        f"that an average may be off; {advice}"
    )


def too_few_runs(n_runs: int, needed: int) -> str:
    """Return why there is no verdict about the recipe."""
    trained = {0: "no run can be compared", 1: "only one run can be compared"}.get(n_runs, f"only {n_runs} runs can be compared")
    return f"can't tell yet: {trained}; a verdict about the recipe needs at least {needed}, and usually more"


def _between(contrast: Contrast, unit: str) -> str:
    return f"{number(contrast.low)} to {amount(contrast.high, unit)}, retrained {contrast.n_runs} times"


def _would_tell(more: int | None) -> str:
    return "more runs would hardly tell" if more is None else f"about {more} runs in all would tell"


def unclear(contrast: Contrast, margin: float, unit: str, more: int | None) -> str:
    """Return why neither a change nor its absence could be shown."""
    hint = _would_tell(more)
    if more is None:
        hint += ", as the change is about as large as the smallest one that counts"
    return f"can't tell yet: the change is {_between(contrast, unit)}, and the smallest that counts is {amount(margin, unit)}; {hint}"


def control_failed(contrast: Contrast, check: ControlCheck, unit: str, more: int | None) -> str:
    """Return why a change is not counted as learned."""
    change = f"the pictures change ({_between(contrast, unit)})"
    if check.contrast is None:
        told = _CONTROL_MISSING if check.status == "not_run" else _CONTROL_UNMEASURED
        return f"can't tell yet: {change}, but {told[check.name]}"
    beyond = f"{number(check.contrast.low)} to {amount(check.contrast.high, unit)} {check.says}"
    return f"can't tell yet: {change}, but {_CONTROL_DOES[check.name]} ({beyond}); {_would_tell(more)}"


def decided(finding: Finding, contrast: Contrast, margin: float, unit: str, checks: Sequence[ControlCheck]) -> str:
    """Return what was found and what it exceeds."""
    if finding == "no change":
        return f"any change is smaller than {amount(margin, unit)}, the smallest that counts ({_between(contrast, unit)})"
    seen = f"{finding} by {amount(abs(contrast.effect), unit)} ({_between(contrast, unit)})"
    told = f"{seen}, where {amount(margin, unit)} is the smallest that counts"
    passed = [check.says for check in checks if check.status == "passed"]
    failed = [_CONTROL_DOES[check.name] for check in checks if check.status == "failed"]
    return told + "".join(f", and {says}" for says in passed) + "".join(f"; yet {does}" for does in failed)


def measured_unequally(cell: float, versus: float, *, counts_as_no: bool) -> str:
    """Return a clause to put behind a reason: one side could be measured less often."""
    treated = ", and counts as no where it could not" if counts_as_no else ""
    return f"; note that {cell:.0%} of the pictures could be measured against {versus:.0%}{treated}"


# --- curves -------------------------------------------------------------------------------------------------------------


def dose_name(over: str, dose: float) -> str:
    """Return a dose in words: strength 0.5, step 32."""
    return f"{over} {dose:g}"


def trend(finding: Finding, contrast: Contrast, margin: float, unit: str, over: str, doses: Sequence[float]) -> str:
    """Return what happens between the smallest and the largest dose."""
    span = f"from {dose_name(over, doses[0])} to {doses[-1]:g}"
    if finding == "no change":
        return f"any change {span} is smaller than {amount(margin, unit)}, the smallest that counts ({_between(contrast, unit)})"
    way = "rises" if finding == "higher" else "falls"
    told = f"{way} by {amount(abs(contrast.effect), unit)} {span} ({_between(contrast, unit)})"
    return f"{told}, where {amount(margin, unit)} is the smallest that counts"


def bent(
    contrast: Contrast, there: Contrast, margin: float, unit: str, over: str, doses: tuple[float, float, float], more: int | None
) -> str:
    """Return why a flat line is not "no change": ``there``, the change from the first dose at the second of ``doses``, may count."""
    first, dose, last = doses
    line = f"the line from {dose_name(over, first)} to {last:g} is flat ({_between(contrast, unit)})"
    away = f"at {dose_name(over, dose)} the change from {dose_name(over, first)} is {number(there.low)} to {amount(there.high, unit)}"
    return f"can't tell yet: {line}, but {away}, and the smallest that counts is {amount(margin, unit)}; {_would_tell(more)}"


def half_dose(over: str, dose: float, low: float, high: float, reference: float) -> str:
    """Return where half of the effect is reached."""
    return f"half of what {dose_name(over, reference)} does is reached at {over} {number(dose)} ({number(low)} to {number(high)})"


def no_half_dose(over: str, reference: float) -> str:
    """Return why there is no half-effect dose."""
    return f"the effect at {dose_name(over, reference)} cannot be told from none, so there is no dose of half of it"


def overshoot(over: str, doses: Sequence[float]) -> str:
    """Return at which doses the pictures lie beyond the training set."""
    return f"at {over} " + ", ".join(f"{dose:g}" for dose in doses) + " the pictures lie beyond the training set"


def too_few_doses() -> str:
    """Return why there is no trend."""
    return "a curve needs at least two doses, and this budget draws fewer"

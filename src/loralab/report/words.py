"""The report's words: directions of instruments, chips, numbers, durations; statistics words stay in the fold-out tables.

In: verdicts and plain numbers. Out: short texts, not yet escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from loralab.infer.verdict import LEAD, LIKENESS, Contrast, Ruling, Verdict
from loralab.infer.words import duration as minutes
from loralab.infer.words import minus
from loralab.infer.words import number as plain_number
from loralab.measure import TABLE

#: in the order in which claims are sorted
RULINGS: tuple[Ruling, ...] = ("supported", "leaning", "contradicted", "open", "not_measurable")
CHIPS: Mapping[str, tuple[str, str]] = {
    "supported": ("✓", "yes"),
    "leaning": ("≳", "some"),
    "contradicted": ("✗", "no"),
    "open": ("?", "can’t tell yet"),
    "not_measurable": ("–", "not measured"),
}
CHIP_MEANINGS: Mapping[str, str] = {
    "supported": "it holds here",
    "leaning": "the direction is certain; whether the change is large enough to count is not settled",
    "contradicted": "it does not hold here",
    "open": "not settled; what is known so far, and what would settle it, is shown next to it",
    "not_measurable": "no instrument could measure it",
}
#: what is said behind the number of claims that came to each verdict: behind one, behind several
COUNT_WORDS: Mapping[str, tuple[str, str]] = {
    "supported": ("holds here", "hold here"),
    "leaning": ("holds in part (the direction is certain, the size is not)", "hold in part (the direction is certain, the size is not)"),
    "contradicted": ("does not hold here", "do not hold here"),
    "open": ("is still open", "are still open"),
    "not_measurable": ("was not measured", "were not measured"),
}


def count_words(ruling: str, n: int) -> str:
    """Return what stands behind the number of claims that came to a verdict."""
    return COUNT_WORDS[ruling][n != 1]


_UNIX_PATH = re.compile(r"(?<![\w.:/…])/(?:[^/\s'\"“”,;:()<>]+/)+([^/\s'\"“”,;:()<>]*)")
_WINDOWS_PATH = re.compile(r"\b[A-Za-z]:\\(?:[^\\\s'\"“”,;:()<>]+\\)*([^\\\s'\"“”,;:()<>]*)")


#: what a smaller and a larger share of what is no instrument's reading mean
DERIVED: Mapping[str, tuple[str, str]] = {
    LIKENESS: ("less of the scatter between trainings", "more of the scatter between trainings"),
    LEAD: ("further behind on its way", "further ahead on its way"),
}


def directions_of(measure: str) -> tuple[str, str]:
    """Return what a lower and a higher reading mean; a measure may carry its data in brackets, as ``copy_distance[hot]``."""
    if instrument_of(measure) in DERIVED:
        return DERIVED[instrument_of(measure)]
    row = TABLE.get(measure) or TABLE.get(instrument_of(measure))
    if row is None:
        return "lower", "higher"
    asked = measure.removeprefix("concept[").removesuffix("]")
    lower, higher = (way.replace("the concept", f"“{asked}”") if asked != measure else way for way in (row.lower, row.higher))
    return lower, higher


def unit_of(measure: str) -> str:
    """Return the unit of a measure's readings; "" of one that is not known."""
    if instrument_of(measure) in DERIVED:
        return "share"
    row = TABLE.get(measure) or TABLE.get(instrument_of(measure))
    return row.unit if row is not None else ""


def instrument_of(measure: str) -> str:
    """Return the instrument's name of a measure that may carry its arm in brackets."""
    return measure.split("[")[0]


def number(value: float) -> str:
    """Return three significant digits with a real minus sign, and no exponent where a screen has room."""
    return minus(plain_number(value))


def signed(value: float) -> str:
    """Return ``number`` with a plus sign where it is positive."""
    return f"+{number(value)}" if value > 0 else number(value)


def tick(value: float, unit: str) -> str:
    """Return a difference as an axis has it, without its unit: shares in points, of which a hundred are all of the pictures."""
    return signed(100 * value if unit == "share" else value)


def change(value: float, unit: str) -> str:
    """Return a difference with its sign and its unit, if it has one; shares in points."""
    return f"{tick(value, unit)} {'points' if unit == 'share' else unit}".rstrip()


def between(contrast: Contrast, unit: str) -> str:
    """Return the interval of a difference with its unit: "−28 to −19 C*"; shares in points."""
    return f"{tick(contrast.low, unit)} to {change(contrast.high, unit)}"


def level(value: float | None, unit: str) -> str:
    """Return what an instrument reads, with its unit; shares in percent, "unknown" where there is none."""
    if value is None:
        return "unknown"
    return f"{number(100 * value)} %" if unit == "share" else amount(value, unit)


def axis(unit: str) -> str:
    """Return what stands beside an axis of differences; "" of a measure without unit."""
    return "points (100 are all pictures)" if unit == "share" else unit


def amount(value: float, unit: str) -> str:
    """Return a number with its unit, if it has one; shares in points."""
    return change(value, unit).removeprefix("+")


def duration(seconds: float) -> str:
    """Return seconds as people say them: 0.4 s, 38 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


_FEW = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def count(n: int) -> str:
    """Return a number as prose has it: none to twelve in words, more in digits."""
    return _FEW[n] if 0 <= n < len(_FEW) else str(n)


def shown_of(shown: int, n: int) -> str:
    """Return how many pictures there are, and how many of them are shown: "three pictures", "six of ten pictures shown"."""
    noun = "picture" if n == 1 else "pictures"
    return f"{count(n)} {noun}" if shown >= n else f"{count(shown)} of {count(n)} {noun} shown"


def times(n: int) -> str:
    """Return how often something was done: once, twice, 8 times."""
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def would_tell(verdict: Verdict) -> str:
    """Return what would settle a claim that is not settled: "8 more trainings, 3 minutes", or that it would hardly tell; else nothing."""
    if verdict.verdict not in ("open", "leaning"):
        return ""
    if verdict.more_runs is None:
        return "more trainings would hardly settle it"
    done = verdict.contrast.n_runs if verdict.contrast else 0
    cost = "" if verdict.more_minutes is None else f", {minutes(verdict.more_minutes)}"
    return f"{verdict.more_runs - done} more trainings{cost}" if done else f"at least {verdict.more_runs} trainings"


def reason_sentence(verdict: Verdict) -> str:
    """Return the verdict's reason as a sentence, without the words that its chip says already."""
    reason = verdict.reason.strip()
    for start in ("can't tell yet: ", "can’t tell yet: "):
        reason = reason.removeprefix(start)
    return reason[:1].upper() + reason[1:] + ("" if reason.endswith((".", "!", "?")) or not reason else ".")


def versus_words(verdict: Verdict) -> str:
    """Return what zero stands for: the base, or the cell that the claim compares with."""
    return verdict.versus if verdict.versus_base is None else f"the {verdict.versus_base}"


def without_paths(text: str) -> str:
    """Return the text with every absolute path cut down to its last part: a report tells nobody where it was made."""
    return _WINDOWS_PATH.sub(r"…/\1", _UNIX_PATH.sub(r"…/\1", text))

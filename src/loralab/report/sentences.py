"""The answer to an experiment's question in a few plain sentences, composed from its verdicts.

In: the verdicts of one experiment. Out: the answer. A claim's own words come from the user and may be any clause
("grey is learned", "edges do not blur"), so they are only ever put behind words that take a whole clause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from loralab.infer.findings import is_small_yes
from loralab.infer.verdict import Contrast, Ruling, Verdict
from loralab.report.words import amount, count, directions_of, unit_of

NO_CLAIMS = "No claims were made here; there are only pictures to look at."
ONLY_AFTERTHOUGHTS = "No claim was written in advance, so what follows only suggests what to test next."
#: with more claims of one outcome than this a headline names them without their figures
MOST_WITH_FIGURES = 2


def answer(verdicts: Sequence[Verdict], base: str) -> str:
    """Return the answer to a question for a reader: what holds and by how much, what holds in part, what does not, what is not settled.

    Claims that were not written before the run (``exploratory``) answer nothing and are left out.
    """
    return next(answers_by_length(verdicts, base))


def answers_by_length(verdicts: Sequence[Verdict], base: str) -> Iterator[str]:
    """Yield the answer, then shorter ones, each whole: without figures, then only how many claims came to what."""
    planned = [verdict for verdict in verdicts if not verdict.exploratory]
    if not planned:
        yield ONLY_AFTERTHOUGHTS if verdicts else NO_CLAIMS
        return
    for most_with_figures in (MOST_WITH_FIGURES, 0):
        told = [_sentence(kind, _of_kind(planned, kind), len(planned), most_with_figures) for kind in _KINDS]
        first, *others = [sentence for sentence in told if sentence]
        yield f"On {base}, " + " ".join([first, *map(_capital, others)])
    counts = [(len(_of_kind(planned, kind)), one, several) for kind, (one, several) in _COUNTED.items()]
    yield (
        f"On {base}, of {_counted(len(planned))} "
        + joined([f"{count(n)} {one if n == 1 else several}" for n, one, several in counts if n])
        + "."
    )


#: the kinds of outcomes in the order in which they are told; "small" is a change in the claim's direction that is too small to count
_KINDS = ("supported", "leaning", "small", "contradicted", "open", "not_measurable")
_COUNTED: Mapping[str, tuple[str, str]] = {
    "supported": ("holds", "hold"), "leaning": ("holds in part", "hold in part"),
    "small": ("is so, but by too little to count", "are so, but by too little to count"),
    "contradicted": ("does not hold", "do not hold"), "open": ("is not settled", "are not settled"),
    "not_measurable": ("could not be measured", "could not be measured"),
}  # fmt: skip


def _counted(n: int) -> str:
    return "one claim" if n == 1 else f"{count(n)} claims"


def _kind_of(verdict: Verdict) -> str:
    """Return which group of the headline a verdict belongs to."""
    return "small" if verdict.verdict == "contradicted" and _is_small(verdict) else verdict.verdict


def _is_small(verdict: Verdict) -> bool:
    return verdict.finding == "no change" and verdict.contrast is not None and is_small_yes(verdict.contrast, verdict.expect)


def _of_kind(verdicts: Sequence[Verdict], kind: str) -> list[Verdict]:
    return [verdict for verdict in verdicts if _kind_of(verdict) == kind]


def _sentence(kind: str, verdicts: Sequence[Verdict], m: int, most_with_figures: int) -> str:
    """Return one sentence about the claims of one outcome, of ``m`` claims in all; empty where there are none."""
    if not verdicts:
        return ""
    figures = len(verdicts) <= most_with_figures
    says = [clause(verdict.say) for verdict in verdicts]
    if kind in ("open", "not_measurable"):
        start = "it is not settled whether" if kind == "open" else "it could not be measured whether"
        return f"{start} {', or whether '.join(says)}."
    quoted = [f"“{say}”" for say in says] if kind in ("small", "contradicted") else says
    told = joined([say + (_figure(verdict) if figures else "") for say, verdict in zip(quoted, verdicts, strict=True)], separator="; ")
    return _START[kind](told, len(verdicts), m)


def _supported(told: str, n: int, m: int) -> str:
    if n == m:
        return f"yes: {told}." if n == 1 else f"{'both' if n == 2 else f'all {count(n)}'} claims hold: {told}."
    return f"{told}."


def _contradicted(told: str, n: int, m: int) -> str:
    if n < m:
        return f"this does not hold: {told}."
    none = {1: "this does not hold", 2: "neither claim holds"}.get(n, f"none of the {count(n)} claims holds")
    return f"no, {none}: {told}."


_START: Mapping[str, Callable[[str, int, int], str]] = {
    "supported": _supported,
    "leaning": lambda told, n, m: f"in part: {told}.",
    "small": lambda told, n, m: f"yes, but by too little to count: {told}.",
    "contradicted": _contradicted,
}


def _figure(verdict: Verdict) -> str:
    found = in_short(verdict)
    return f" ({found})" if found else ""


def in_short(verdict: Verdict) -> str:
    """Return what was found in plain words and round figures: "greyer, by 35 to 45 C*"; empty where nothing was."""
    contrast, finding, unit = verdict.contrast, verdict.finding, unit_of(verdict.measure)
    lower, higher = directions_of(verdict.measure)
    if finding is None or contrast is None or finding in ("open", "nothing differs"):
        return "" if finding in (None, "open") else verdict.found
    word = higher if finding.endswith("higher") else lower
    if finding in ("not higher", "not lower"):
        return f"not {word} by an amount that counts"
    if finding in ("higher", "lower", "some higher", "some lower"):
        counts = (
            "" if verdict.margin is None or finding in ("higher", "lower") else f"; {amount(_rounded(verdict.margin), unit)} would count"
        )
        return f"{word}, by {_span(contrast, unit)}{counts}"
    if _is_small(verdict):
        return f"{higher if verdict.expect == 'higher' else lower}, by {_span(contrast, unit)}"
    return "any change is too small to count" if finding == "no change" else ""


def _span(contrast: Contrast, unit: str) -> str:
    """Return an interval on one side of 0 as a size in two digits: "12 to 34 deltaE"."""
    small, large = sorted((abs(contrast.low), abs(contrast.high)))
    return f"{amount(_rounded(small), unit).split()[0]} to {amount(_rounded(large), unit)}"


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _capital(sentence: str) -> str:
    """Return a sentence with a capital, behind a quotation mark too."""
    at = 1 if sentence.startswith("“") else 0
    return sentence[:at] + sentence[at : at + 1].upper() + sentence[at + 1 :]


def most_important(verdicts: Sequence[Verdict], most: int = 3) -> list[Verdict]:
    """Return up to ``most`` verdicts to be told first: decided before open, then the largest change against the smallest that counts.

    What was not written before the run comes in only where nothing else was asked.
    """
    planned = [verdict for verdict in verdicts if not verdict.exploratory] or list(verdicts)
    return sorted(planned, key=lambda verdict: (_IMPORTANCE.index(verdict.verdict), -_size(verdict)))[:most]


#: which outcomes are told first
_IMPORTANCE: tuple[Ruling, ...] = ("supported", "contradicted", "leaning", "open", "not_measurable")


def _size(verdict: Verdict) -> float:
    if verdict.contrast is None:
        return 0.0
    return abs(verdict.contrast.effect) / verdict.margin if verdict.margin else abs(verdict.contrast.effect)


def one_answer(verdict: Verdict) -> str:
    """Return one verdict as a sentence that stands alone: "Yes: grey is learned (greyer, by 19 to 28 C*)."."""
    told = clause(verdict.say)
    start = {
        "supported": f"Yes: {told}",
        "contradicted": f"No, it does not hold that {told}",
        "leaning": f"In part: {told}",
        "open": f"Not settled yet: whether {told}",
        "not_measurable": f"Not measurable: whether {told}",
    }[verdict.verdict]
    if _is_small(verdict):
        start = f"Yes, but by too little to count: {told}"
    known = in_short(verdict) if verdict.verdict in ("supported", "contradicted", "leaning") else verdict.reason.split("; ")[-1]
    return start + (f" ({known})" if known else "") + "."


def clause(say: str) -> str:
    """Return a claim's words so that a sentence can go on behind them: one line, no closing stop."""
    return " ".join(say.split()).rstrip(" .!?;,:")


def joined(items: Sequence[str], last: str = "and", separator: str = ", ") -> str:
    """Return "a", "a and b", "a, b, and c"."""
    if len(items) < 3:
        return f" {last} ".join(items)
    return separator.join(items[:-1]) + f"{separator}{last} {items[-1]}"

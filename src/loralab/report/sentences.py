"""The answer to an experiment's question in a few plain sentences, composed from its verdicts.

In: the verdicts of one experiment. Out: the answer. A claim's own words come from the user and may be any clause
("grey is learned", "edges do not blur"), so they are only ever put behind words that take a whole clause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loralab.infer.verdict import Ruling, Verdict
from loralab.report.words import directions_of

NO_CLAIMS = "No claims were made here; there are only pictures to look at."
ONLY_AFTERTHOUGHTS = "No claim was written in advance, so what follows only suggests what to test next."


def answer(verdicts: Sequence[Verdict], base: str) -> str:
    """Return the answer to a question for a reader: how many claims hold and which, what holds in part, what does not, what is open.

    Claims that were not written before the run (``exploratory``) answer nothing and are left out.
    """
    if not verdicts:
        return NO_CLAIMS
    planned = [verdict for verdict in verdicts if not verdict.exploratory]
    if not planned:
        return ONLY_AFTERTHOUGHTS
    told = [_group(start, _ruled(planned, ruling), len(planned)) for ruling, start in _STARTS.items()]
    sentences = [sentence for sentence in told if sentence]
    return f"On {base}, " + " ".join([sentences[0], *(part[:1].upper() + part[1:] for part in sentences[1:])])


#: how each group of verdicts is begun: for a single claim of the question, and for some of several
_STARTS: Mapping[Ruling, tuple[str, str]] = {
    "supported": ("yes: {told}.", "{n} of {m} hold: {told}."),
    "leaning": ("in part: {told}.", "in part: {told}."),
    "contradicted": ("no, this does not hold: {told}.", "this does not hold: {told}."),
    "open": ("it is too early to tell whether {told}.", "it is too early to tell whether {told}."),
    "not_measurable": ("it could not be measured whether {told}.", "it could not be measured whether {told}."),
}


def _group(starts: tuple[str, str], verdicts: Sequence[Verdict], m: int) -> str:
    """Return one sentence about the claims of a verdict; empty where there are none."""
    if not verdicts:
        return ""
    hedged = verdicts[0].verdict in ("open", "not_measurable")
    told = "; ".join(clause(verdict.say) + (f" ({says})" if (says := _found(verdict)) else "") for verdict in verdicts)
    if hedged:
        told = ", or whether ".join(clause(verdict.say) for verdict in verdicts)
    elif verdicts[0].verdict == "contradicted":
        told = "; ".join(f"“{clause(verdict.say)}”" + (f" ({says})" if (says := _found(verdict)) else "") for verdict in verdicts)
    sentence = starts[m > 1].format(told=told, n=len(verdicts), m=m)
    return sentence.replace(f"1 of {m} hold:", f"1 of {m} holds:")


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
    known = _found(verdict) if verdict.verdict in ("supported", "contradicted", "leaning") else verdict.reason.split("; ")[-1]
    return start + (f" ({known})" if known else "") + "."


def _found(verdict: Verdict) -> str:
    """Return what was measured, in the instrument's own words: "greyer by 32 to 48 C*"."""
    lower, higher = directions_of(verdict.measure)
    for word, way in (("higher by", higher), ("lower by", lower)):
        if verdict.found.startswith(word) and way not in ("higher", "lower"):
            return verdict.found.replace(word, f"{way}, by", 1)
    return verdict.found


def clause(say: str) -> str:
    """Return a claim's words so that a sentence can go on behind them: one line, no closing stop."""
    return " ".join(say.split()).rstrip(" .!?;,:")


def joined(items: Sequence[str], last: str = "and") -> str:
    """Return "a", "a and b", "a, b, and c"."""
    if len(items) < 3:
        return f" {last} ".join(items)
    return ", ".join(items[:-1]) + f", {last} {items[-1]}"


def _ruled(verdicts: Sequence[Verdict], ruling: Ruling) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.verdict == ruling]

"""One plain sentence that answers an experiment's question, composed from its verdicts.

In: the verdicts of one experiment. Out: a sentence. A claim's own words come from the user and may be any clause
("grey is learned", "edges do not blur"), so they are only ever put behind words that take a whole clause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loralab.infer.verdict import Ruling, Verdict

_MEASURED: Mapping[str, str] = {
    "higher": "it came out higher",
    "lower": "it came out lower",
    "no change": "any change is too small to count",
}
NO_CLAIMS = "No claim was made here, so there are only pictures to look at."
ONLY_AFTERTHOUGHTS = "No claim was written before the run; what stands below only suggests what to test next."


def answer(verdicts: Sequence[Verdict], base: str) -> str:
    """Return the answer in one sentence: what holds, what does not, what can't be told yet, what was not measured, in this order.

    Claims that were not written before the run (``exploratory``) answer nothing and are left out.
    """
    if not verdicts:
        return NO_CLAIMS
    planned = [verdict for verdict in verdicts if not verdict.exploratory]
    if not planned:
        return ONLY_AFTERTHOUGHTS
    parts = [_holds(_ruled(planned, "supported")), _does_not(_ruled(planned, "contradicted"))]
    parts += [_whether("can’t tell yet", _ruled(planned, "inconclusive")), _whether("not measured:", _ruled(planned, "not_measurable"))]
    return f"Here, on {base}: " + "; ".join(part for part in parts if part) + "."


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


def _holds(verdicts: Sequence[Verdict]) -> str:
    return "yes, " + joined([clause(verdict.say) for verdict in verdicts]) if verdicts else ""


def _does_not(verdicts: Sequence[Verdict]) -> str:
    told = [clause(verdict.say) + _measured(verdict) for verdict in verdicts]
    return "no, it is not so that " + ", nor that ".join(told) if told else ""


def _measured(verdict: Verdict) -> str:
    words = _MEASURED.get(verdict.finding or "")
    return f" ({words})" if words else ""


def _whether(start: str, verdicts: Sequence[Verdict]) -> str:
    return f"{start} whether " + ", or whether ".join(clause(verdict.say) for verdict in verdicts) if verdicts else ""

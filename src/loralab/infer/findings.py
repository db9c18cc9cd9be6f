"""From an interval and a margin to a finding, and from a finding to a verdict: the table of words, as pure functions.

In: a contrast, the smallest change that counts, what was expected, whether the controls were exceeded. Out: words. A figure that is drawn
from the same contrast and margin cannot disagree with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loralab.infer.future import Outlook
from loralab.infer.verdict import Contrast, Finding, Ruling

#: what each finding says of a claim, by what it expects. Where a finding is missing the claim is open.
RULINGS: Mapping[str, Mapping[Finding, Ruling]] = {
    "higher": {
        "higher": "supported", "some higher": "leaning", "lower": "contradicted", "some lower": "contradicted", "no change": "contradicted",
        "not higher": "contradicted", "nothing differs": "contradicted",
    },
    "lower": {
        "lower": "supported", "some lower": "leaning", "higher": "contradicted", "some higher": "contradicted", "no change": "contradicted",
        "not lower": "contradicted", "nothing differs": "contradicted",
    },
    "no change": {"no change": "supported", "nothing differs": "supported", "higher": "contradicted", "lower": "contradicted"},
}  # fmt: skip


@dataclass(frozen=True)
class Ruled:
    """What the rule says of a question: finding, verdict, the reason in a sentence, the finding with its numbers, and what lies ahead."""

    finding: Finding | None
    ruling: Ruling
    reason: str
    found: str = ""
    outlook: Outlook | None = None


def zone_of(contrast: Contrast, margin: float) -> Finding:
    """Return what the interval itself shows, whatever was expected: beyond the margin, inside it, on one side of 0, or neither."""
    if contrast.low > margin:
        return "higher"
    if contrast.high < -margin:
        return "lower"
    if contrast.low >= -margin and contrast.high <= margin:
        return "no change"
    if contrast.direction:
        return "some higher" if contrast.direction > 0 else "some lower"
    return "open"


def finding_of(contrast: Contrast, margin: float, expect: str, *, controls: bool = True, controls_surely: bool = True) -> Finding:
    """Return the finding; ``controls`` says whether the change exceeds every required control in its direction, ``controls_surely``
    whether it does at the level of the whole study.

    A change that its controls make as well is not called one; what it excludes stays excluded.
    """
    zone = zone_of(contrast, margin)
    if zone == "no change" or (zone in ("higher", "lower") and controls) or (zone.startswith("some") and controls_surely):
        return zone
    if zone in ("higher", "lower") and contrast.direction and controls_surely:
        return "some higher" if zone == "higher" else "some lower"
    return _excluded(contrast, margin, expect)


def _excluded(contrast: Contrast, margin: float, expect: str) -> Finding:
    """Return what is ruled out where no change could be shown: one of the two sides beyond the margin, or neither."""
    if contrast.high <= margin:  # no rise that counts
        return "not higher" if expect == "higher" else "no rise"
    if contrast.low >= -margin:  # no drop that counts
        return "not lower" if expect == "lower" else "no drop"
    return "open"


def ruling_of(finding: Finding, expect: str) -> Ruling:
    """Return the verdict on a claim of ``expect``."""
    return RULINGS[expect].get(finding, "open")


def is_small_yes(contrast: Contrast, expect: str) -> bool:
    """Return whether an interval inside the margin leaves out 0 in the claim's direction: "yes, but too small to count"."""
    return (expect == "higher" and contrast.low > 0) or (expect == "lower" and contrast.high < 0)

"""What was left out, and what the study does not tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from loralab.infer.verdict import Verdict
from loralab.report.words import would_tell
from loralab.study.result import StudyResult


def exclusions(result: StudyResult) -> Iterator[str]:
    """Yield what was left out: LoRAs that failed, pictures that could not be measured, files that were not read."""
    for source, reason in result.failures.items():
        yield f"LoRA {source} was not used: {reason}"
    missing = result.readings.filter(result.readings["status"] == "not_measurable")
    counts = Counter(zip(missing["measure"].to_list(), missing["reason"].to_list(), strict=True))
    totals = Counter(result.readings["measure"].to_list())
    for (measure, reason), n in counts.most_common():
        yield f"{measure}: {n} of {totals[measure]} pictures could not be measured ({reason})"
    for arm in result.datasets:
        yield from (f"training set of {arm}: {note}" for note in result.training_set(arm)[2])


def not_measured(result: StudyResult, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what the study does not tell."""
    for verdict in verdicts:
        if verdict.verdict in ("open", "leaning"):
            yield f"“{verdict.say}” is not settled: {would_tell(verdict)}."
        elif verdict.verdict == "not_measurable":
            yield f"“{verdict.say}” was not measured: {verdict.reason}"
    used = "Only this base was used." if len(result.bases) == 1 else "Only these bases were used."
    yield f"{used} What a LoRA learns on petri need not be what it learns on a full-size model; the same study runs there."
    yield "Only the words in this file were tried. A verdict about `myshape` and `monster` is about that pair of words."
    yield "The text encoder was frozen."
    if not result.plan.curves:
        yield "Earlier steps of a training and other strengths were not drawn."

"""Tables from the records of ``aa_real.py``: whole studies with a false alarm, coverage over studies, planted changes found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aa_studies import A_A, LOOKS, MARGINS, MEASURES, PLANTED, SEEDS, SUITES
from scipy import stats

FOUND = ("higher", "lower", "some higher", "some lower")
LEVEL = 0.95
Record = Mapping[str, Any]


def clopper_pearson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, n - hits + 1))
    return low, 1.0 if hits == n else float(stats.beta.ppf(1 - tail, hits + 1, n - hits))


def share(hits: int, n: int) -> str:
    """Return "3 of 40 | 7.5 % | 1.6 to 20.4 %" as the cells of a table."""
    low, high = clopper_pearson(hits, n)
    return f"{hits} of {n} | {100 * hits / n:.1f} % | {100 * low:.1f} to {100 * high:.1f} %"


def mean_share(shares: Sequence[float]) -> str:
    """Return the mean of one share a study with bounds over studies (Student's t): the claims of a study are not independent."""
    own = np.asarray(shares)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(own) - 1)) * float(own.std(ddof=1)) / math.sqrt(len(own)) if len(own) > 1 else math.nan
    return f"{100 * own.mean():.1f} % ({100 * (own.mean() - half):.1f} to {100 * (own.mean() + half):.1f})"


def says_false(record: Record, margin: str, which: str, looks: Sequence[int] = LOOKS) -> bool:
    """Return whether a study in which nothing is there says anything at any of the looks; `which` may be `either` experiment."""
    asked = ("between", "learned") if which == "either" else (which,)
    return any(told in FOUND for look in looks for name in asked for told in record["looks"][str(look)][margin][name].values())


def truths_of(records: Sequence[Record]) -> dict[str, float]:
    """Return the mean effect of all trainings of a suite against the base, by instrument: what an interval should hold."""
    return {m: float(np.mean([e for r in records for arm in ("a", "b") for e in r["effects"][m][arm]])) for m in MEASURES}


def held(record: Record, look: int, which: str, truths: Mapping[str, float]) -> float | None:
    """Return the share of a study's single intervals at 95 % that hold the truth; None where it has none."""
    told = {m: i for m, i in record["looks"][str(look)]["alone"][which].items() if i is not None}
    return float(np.mean([low <= truths[m] <= high for m, (low, high) in told.items()])) if told else None


def summary(records: Sequence[Record]) -> Iterator[str]:
    """Yield the lines of the result, as Markdown."""
    by_suite = {name: [record for record in records if record["suite"] == name] for name in SUITES}
    silent = [record for name in A_A for record in by_suite[name]]
    if silent:
        yield from _alarms(by_suite, silent)
    if by_suite["planted"]:
        yield from _planted(by_suite["planted"])
    if silent:
        yield from _coverage(by_suite)
        yield from _against_base(by_suite)
        yield from _single(silent)
        yield from _spread(by_suite)


def _alarms(by_suite: Mapping[str, Sequence[Record]], silent: Sequence[Record]) -> Iterator[str]:
    yield from (
        "## Whole studies in which nothing is there",
        "",
        "| studies | says anything false | should be | came out | share | 95 % bounds |",
    )
    yield "|---|---|---|---|---|---|"
    whats = {"between": "arm against arm", "learned": "learned, against base and placebo", "either": "anything at all"}
    for name, own in (*((name, by_suite[name]) for name in A_A), ("both", silent)):
        for which, what in whats.items() if own else ():
            hits = sum(says_false(record, "any", which) for record in own)
            yield f"| A/A, {name} | {what}, at either look | at most 5 % | {share(hits, len(own))} |"
    for look in LOOKS:
        hits = sum(says_false(record, "any", "either", (look,)) for record in silent)
        yield f"| A/A, both | anything at all, at {look} trainings | | {share(hits, len(silent))} |"
    hits = sum(says_false(record, "usual", "either") for record in silent)
    yield f"| A/A, both | anything at all, where a usual change counts | at most 5 % | {share(hits, len(silent))} |"
    any_at_all, usual = (
        100 * clopper_pearson(sum(says_false(record, margin, "either") for record in silent), len(silent), 0.90)[1]
        for margin in ("any", "usual")
    )
    yield from (
        "",
        f"One-sided upper 95 % bounds of anything at all, at either look: {any_at_all:.1f} % in the strictest case, {usual:.1f} % where a",
    )
    yield "usual change counts, as in people's studies (a direction without a size is counted there too)."
    told = " and ".join(
        f"{'reached' if bound <= 5 else 'missed'} {where}" for bound, where in ((any_at_all, "in the strictest case"), (usual, "there"))
    )
    yield f"The goal, an upper bound of at most 5 %, is {told}. With 300 studies it allows 8 alarms; the two looks spend 4 of the 5 %."
    for look in LOOKS:
        told = [f for record in silent for f in record["looks"][str(look)]["usual"]["between"].values()]
        said = f'{told.count("no change")} of {len(told)} claims between the arms say "no change" at {look} trainings'
        yield f"Where a usual change counts, {said}: rightly."


def _planted(records: Sequence[Record]) -> Iterator[str]:
    look = str(LOOKS[0])
    yield from ("", f"## Planted changes, at the look of {look} trainings", "")
    yield "| claim | the change that there is | a study's mean scatters by | found | share | 95 % bounds |"
    yield "|---|---|---|---|---|---|"
    for measure, expected in PLANTED.items():
        own = planted_changes(records, measure)
        there = f"{own.mean():.3g} | {own.std(ddof=1):.3g}" if len(own) > 1 else "- | -"
        for which, what in (("between", "against a placebo"), ("learned", "learned, by the whole rule")):
            hits = sum(record["looks"][look]["usual"][which][measure] == expected for record in records)
            yield f"| {measure} {expected} by more than {MARGINS[measure]:g}, {what} | {there} | {share(hits, len(records))} |"
    yield from (
        "",
        f"Found means: said to count, at the level that {len(MEASURES)} claims share. What is there and was not found stayed open, or",
        "has a direction whose size is open. What is planted here is small beside its spread; what a plan calls nearly certain to be",
        "found is tried in [planted](planted.md).",
    )


def planted_changes(records: Sequence[Record], measure: str) -> np.ndarray:
    """Return each planted study's own change, arm a against the placebo b: the mean over its trainings."""
    return np.array([np.mean(record["effects"][measure]["a"]) - np.mean(record["effects"][measure]["b"]) for record in records])


def _coverage(by_suite: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    yield from ("", "## Intervals at 95 % that hold the truth, bounds over studies", "")
    yield from ("| studies | what | truth | 8 trainings | 16 trainings |", "|---|---|---|---|---|")
    for name in A_A:
        own = by_suite[name]
        truths = truths_of(own) if own else {}
        for which, told in (
            ("learned", f"the mean of {sum(len(r['effects']['chroma'][a]) for r in own for a in 'ab')} trainings"),
            ("between", "0"),
        ):
            right = truths if which == "learned" else dict.fromkeys(MEASURES, 0.0)
            cells = [[h for r in own if (h := held(r, look, which, right)) is not None] for look in LOOKS]
            if all(cells):
                what = "arm against base" if which == "learned" else "arm against arm"
                yield f"| {name} | {what} | {told} | " + " | ".join(mean_share(cell) for cell in cells) + " |"


def _against_base(by_suite: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    yield from ("", "## Single claims against the base, each alone at 95 %: intervals that miss the truth", "")
    yield from (
        "| studies | instrument | 8 trainings | share | 95 % bounds | below, above | 16 trainings | share | 95 % bounds | below, above |",
        "|---|---|---|---|---|---|---|---|---|---|",
    )
    for name in A_A:
        own = by_suite[name]
        truths = truths_of(own) if own else {}
        for measure in MEASURES if own else ():
            cells = []
            for look in LOOKS:
                told = [i for r in own if (i := r["looks"][str(look)]["alone"]["learned"][measure]) is not None]
                below, above = sum(high < truths[measure] for _, high in told), sum(low > truths[measure] for low, _ in told)
                cells.append(f"{share(below + above, len(told))} | {below}, {above}" if told else "- | - | - | -")
            yield f"| {name} | {measure} | " + " | ".join(cells) + " |"
    yield from (
        "",
        "Below: the whole interval lies below the truth. The truth is the mean over all trainings of the suite. What is known of the base",
        "(512 pictures) was drawn once and is the same for all studies, so that its own error shifts all of them alike.",
    )


def _single(silent: Sequence[Record]) -> Iterator[str]:
    yield from ("", "## Single claims between the arms, each alone at 95 %: intervals that leave out 0", "")
    yield from ("| instrument | 8 trainings | share | 95 % bounds | 16 trainings | share | 95 % bounds |", "|---|---|---|---|---|---|---|")
    for measure in MEASURES:
        cells = []
        for look in LOOKS:
            told = [i for r in silent if (i := r["looks"][str(look)]["alone"]["between"][measure]) is not None]
            cells.append(share(sum(low > 0 or high < 0 for low, high in told), len(told)) if told else "- | - | -")
        yield f"| {measure} | " + " | ".join(cells) + " |"
    beyond = list(_beyond(silent))
    yield from ("", "Lower bound above 5 %: " + ("; ".join(beyond) or "none") + f". Of {len(MEASURES) * len(LOOKS)} comparisons.")


def _beyond(silent: Sequence[Record]) -> Iterator[str]:
    """Yield the instruments and looks at which single intervals leave out 0 more often than chance lets one expect of 5 %."""
    for measure in MEASURES:
        for look in LOOKS:
            told = [i for r in silent if (i := r["looks"][str(look)]["alone"]["between"][measure]) is not None]
            if told and clopper_pearson(sum(low > 0 or high < 0 for low, high in told), len(told))[0] > 1 - LEVEL:
                yield f"{measure} at {look} trainings"


def _spread(by_suite: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    yield from (
        "",
        "## Trainings of one recipe against the base",
        "",
        "| suite | instrument | trainings | mean | sd between trainings | skewness |",
    )
    yield "|---|---|---|---|---|---|"
    for name in A_A:
        for measure in MEASURES:
            own = np.array([e for record in by_suite[name] for arm in ("a", "b") for e in record["effects"][measure][arm]])
            if len(own) > 2 and own.std() > 0:
                yield f"| {name} | {measure} | {len(own)} | {own.mean():.3g} | {own.std(ddof=1):.3g} | {stats.skew(own):.2f} |"


def page(records: Sequence[Record], settings: str, base: str, wanted: Mapping[str, int]) -> str:
    """Return the whole page."""
    counts = {name: sum(record["suite"] == name for record in records) for name in SUITES}
    ran = ", ".join(f"{counts[name]} of {wanted[name]} *{name}*" for name in SUITES)
    trainings = sum(len(record["effects"]["chroma"][arm]) for record in records for arm in ("a", "b"))
    head = f"""# False alarms, detections and coverage on real trainings

Each study trains LoRAs of its own on petri and goes through the lab's own rule; the truth is known. *same*: two arms of one treatment.
*placebo*: two placebos. *planted*: red squares under a word, against a placebo. Each arm has 16 trainings and is looked at after 8 and
after 16 (planted: 8 alone), with {SEEDS} pictures a training. Trainings are brief (4 steps, planted: 8), pictures drawn in 3 steps, so
that many studies can be made; they scatter more than those of people's studies. {len(MEASURES)} instruments:
{", ".join(MEASURES)}.
In the A/A studies nothing differs, so a claim is wrong where its interval leaves out 0 at either look, at the level of that look: the
smallest change that counts is taken as next to nothing, the strictest case.
The usual changes that count: {", ".join(f"{m} {v:g}" for m, v in MARGINS.items())}.

Studies that ran, of those that were fixed beforehand: {ran}; {trainings} trainings.
petri's weights {base}, settings {settings}.
Bounds: Clopper and Pearson, two-sided, unless said otherwise. `python benchmarks/aa_real.py OUT.jsonl --markdown FILE`; its head says more.

"""
    return head + "\n".join(summary(records)) + "\n"

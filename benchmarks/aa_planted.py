"""Planted changes that a plan says are nearly always found: are they?

    python benchmarks/aa_planted.py OUT.jsonl [--markdown docs/results/planted.md]     # 60 studies; the same command goes on

The planted change of ``aa_real.py`` is small beside its spread. Here dose and look are set as a user would set a budget: by the plan.
A pilot of 16 trainings per arm at each of a few doses tells the change and its spread, and the rule is played forward with these
(`infer.simulated`). The dose whose least certain claim has the best chance is taken (longer trainings overshoot: at 64 and 96 steps less
turned red than at 32), and the first look at which every claim has a chance of 97 % or more. Then 60 studies of other trainings, the
number fixed beforehand, are judged up to that look, among the same eight claims an experiment and with the same margins. Pictures are
drawn in petri's usual 12 steps. Pilot and studies share no training and no image seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aa_judging import effects_of, judged, known_of
from aa_studies import BRIEF, LOOKS, MARGINS, MEASURES, PLANTED, PROMPT, SEEDS, STACK, Suite, known_values, make_sets, read_studies
from aa_summary import share

from loralab.bases import Base, load_base
from loralab.infer.simulated import Budget, Scatter, by_look, needed_effects
from loralab.measure import TABLE
from loralab.spec.models import SampleSpec
from loralab.store.ledger import append_line, read_lines

STUDIES, FIRST_STUDY, FIRST_PILOT = 60, 20_000, 10_000
PILOT_RUNS, CHANCE = 16, 0.97
DOSES = (16, 32)  # steps of training
DRAWN = SampleSpec(steps=12, guidance=3, seeds=SEEDS)


def suite_of(steps: int, runs: int) -> Suite:
    """Return red squares under a word against a placebo, trained for so many steps."""
    return Suite("red", "own", BRIEF.model_copy(update={"steps": steps}), runs)


def chances_of(differences: np.ndarray, measure: str, n_controls: int) -> np.ndarray:
    """Return the planned chances, (looks,), that a claim is found by each look, from a pilot's differences, one a training."""
    row = TABLE[measure]
    spread = float(differences.std(ddof=1)) * SEEDS**0.5
    scatter = Scatter(0.0, spread, 0.0, row.high - row.low if row.kind == "share" else 0.0)
    needed = needed_effects(scatter, Budget(LOOKS, SEEDS, len(MEASURES), n_controls), MARGINS[measure])
    return np.array(by_look(needed <= abs(differences.mean())))


def pilot(base: Base, sets: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each dose's changes, spreads and chances by look."""
    for number, steps in enumerate(DOSES):
        _, readings = next(read_studies(base, sets, suite_of(steps, PILOT_RUNS), (FIRST_PILOT + number,), DRAWN))
        told: dict[str, Any] = {"pilot": steps}
        for measure in PLANTED:
            a, b = (np.array(effects_of(readings, measure, arm)) for arm in ("a", "b"))
            learned = np.minimum(chances_of(a, measure, 0), chances_of(a - b, measure, 1))
            chances = {"between": chances_of(a - b, measure, 0).tolist(), "learned": learned.tolist()}
            told[measure] = {"change": float((a - b).mean()), "spread": float((a - b).std(ddof=1)), "chances": chances}
        yield told


def least_certain(told: Mapping[str, Any]) -> list[float]:
    """Return the chance of a dose's least certain claim by each look."""
    return [min(told[m]["chances"][which][i] for m in PLANTED for which in ("between", "learned")) for i in range(len(LOOKS))]


def chosen(records: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], int]:
    """Return (the pilot's record of the dose that was taken, the planned look); raises SystemExit where no look is enough."""
    best = max((record for record in records if "pilot" in record), key=lambda told: least_certain(told)[-1])
    looks = [look for look, chance in zip(LOOKS, least_certain(best), strict=True) if chance >= CHANCE]
    if not looks:
        raise SystemExit(f"no dose reaches a chance of {CHANCE:.0%}: {[(r['pilot'], least_certain(r)) for r in records if 'pilot' in r]}")
    return best, looks[0]


def run_missing(out: Path) -> None:
    """Make the pilot and the studies that are missing."""
    base, records = load_base("petri"), read_lines(out)
    if {record["base"] for record in records if "base" in record} - {base.fingerprint}:
        raise SystemExit(f"{out} holds studies of another base than today's petri; give another file")
    sets = make_sets(base)
    if not any("pilot" in record for record in records):
        for told in list(pilot(base, sets)):
            append_line(out, told)
        records = read_lines(out)
    best, look = chosen(records)
    suite = suite_of(best["pilot"], look)
    done = {record["index"] for record in records if "index" in record}
    known = known_of(known_values(base, sets, {"planted": suite}, DRAWN)["planted"])
    together = STACK // (2 * look)
    for first in range(FIRST_STUDY, FIRST_STUDY + STUDIES, together):
        studies = tuple(range(first, first + together))
        if done.issuperset(studies):
            continue
        for index, readings in read_studies(base, sets, suite, studies, DRAWN):
            if index not in done:
                effects = {m: {arm: effects_of(readings, m, arm) for arm in ("a", "b")} for m in PLANTED}
                looks = judged(readings, known, PLANTED)
                found = {which: {m: found_at(looks, which, m) for m in PLANTED} for which in ("between", "learned")}
                append_line(out, {"index": index, "base": base.fingerprint, "found": found, "effects": effects})
        print(f"{first + together - FIRST_STUDY} of {STUDIES}", flush=True)


def found_at(looks: Mapping[str, Any], which: str, measure: str) -> int | None:
    """Return the first look at which a planted change is found, in its direction and to count; None where none finds it."""
    return next((int(look) for look, told in looks.items() if told["usual"][which][measure] == PLANTED[measure]), None)


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the page: the pilot's doses, then what was found."""
    studies = [record for record in records if "index" in record]
    best, look = chosen(records)
    lines = [
        "# Planted changes at a planned look", "",
        f"Red squares under `{PROMPT}` against a placebo, {SEEDS} pictures per training, {len(MEASURES)} claims per experiment.",
        f"Dose and look were set by the plan: {best['pilot']} steps and {look} trainings per arm, the first look at which",
        f"a pilot of {PILOT_RUNS} other trainings per arm gave every claim below a chance of {CHANCE:.0%} or more; looks before it count.",
        f"Then {len(studies)} of {STUDIES} studies, a number fixed beforehand. Bounds: Clopper and Pearson, two-sided, 95 %.",
        "`python benchmarks/aa_planted.py OUT.jsonl --markdown FILE`; its head says more.", "",
        "| steps of training | " + " | ".join(f"{m}: change, spread between trainings" for m in PLANTED)
        + " | chance by " + " and by ".join(map(str, LOOKS)) + " trainings |",
        "|" + "---|" * (2 + len(PLANTED)),
    ]  # fmt: skip
    for told in (record for record in records if "pilot" in record):
        cells = (f"{told[m]['change']:.3g}, {told[m]['spread']:.3g}" for m in PLANTED)
        lines.append(f"| {told['pilot']} | " + " | ".join(cells) + " | " + ", ".join(f"{c:.1%}" for c in least_certain(told)) + " |")
    lines += ["", "| claim | chance by the plan | found | share | bounds |", "|---|---|---|---|---|"]
    for measure, expected in PLANTED.items():
        for which, what in (("between", "against a placebo"), ("learned", "learned, by the whole rule")):
            hits = sum(record["found"][which][measure] is not None for record in studies)
            chance = best[measure]["chances"][which][LOOKS.index(look)]
            lines.append(f"| {measure} {expected} by more than {MARGINS[measure]:g}, {what} | {chance:.1%} | {share(hits, len(studies))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, then print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--markdown", type=Path, help="also write the page to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run_missing(given.out)
    text = page(read_lines(given.out))
    print(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""Claims: what is neither training nor drawing takes at most 8 % of a study's time; judging and reporting 100,000 readings at most 10 s.

    python benchmarks/overhead.py [--study LAB/studies/article] [--quick]

The shares are those of the article's study (`quick`), run from an empty lab, or read back from the ledger of such a run. The readings are
synthetic: the article's own cells and claims with as many pictures as make 100,000 readings, normal, those of the arms half a standard
deviation above the base's; the report holds all verdicts and strips of pictures of noise. Store: a block of six PNGs published and found.
"""

from __future__ import annotations

import io
import statistics
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from study_seconds import add_study_options, chosen_study, study_seconds
from turns import Bench, benching, machine, parser_of

from loralab.infer.judge import InstrumentFacts, judge
from loralab.infer.verdict import Verdict
from loralab.measure import TABLE
from loralab.report import ExperimentSection, Picture, Provenance, ReportInput, StageTime, Strip, StripRow, write_report
from loralab.spec import is_base
from loralab.stages.readings import SCHEMA
from loralab.store import Store, artefact_key
from loralab.study.measures import plain_measure, qualified_experiments, study_measures
from loralab.study.plan import StudyPlan, make_plan

READINGS, PICTURES_A_STRIP = 100_000, 8


def show_shares(bench: Bench, scratch: Path) -> None:
    """Show what each stage takes of the whole."""
    found = study_seconds(bench.options, chosen_study(bench.options), scratch)
    for stage, seconds in sorted(found.stages.items(), key=lambda item: -item[1]):
        bench.show(f"{stage:28} {seconds:8.2f} s  {seconds / found.wall:6.1%}", {"name": stage, "seconds": seconds})
    line = f"neither training nor drawing {found.rest_share:6.1%} of {found.wall:.1f} s"
    bench.show(line, {"name": "rest", "share": found.rest_share, "wall_seconds": found.wall})


def make_readings(plan: StudyPlan, measures: list[str], n_readings: int) -> pl.DataFrame:
    """Return about ``n_readings`` rows over the plan's blocks, with seeds that the base shares, as in a real study."""
    rng, rows = np.random.default_rng(0), []
    n_seeds = max(1, round(n_readings / (len(plan.blocks) * len(measures))))
    for block in plan.blocks:
        shift, strength = (0.0, 1.0) if is_base(block.source) else (0.5, block.strength)
        for measure in measures:
            instrument = TABLE[plain_measure(measure)]
            span = instrument.high - instrument.low
            values = rng.normal(shift, 1, n_seeds) * span / 20 + instrument.low + span / 2
            for seed, value in zip(range(block.replicate * n_seeds, (block.replicate + 1) * n_seeds), values.tolist(), strict=True):
                share = float(value > instrument.low + span / 2) if instrument.kind == "share" else value
                place = (str(block.who), block.replicate, block.prompt, strength, block.step)
                rows.append((*place, seed, measure, share, "measured", "", is_base(block.source)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def judge_readings(plan: StudyPlan, readings: pl.DataFrame, measures: list[str]) -> list[Verdict]:
    """Return the verdicts on the article's claims over synthetic readings."""
    facts = {}
    for measure in measures:
        row = TABLE[plain_measure(measure)]
        facts[measure] = InstrumentFacts(measure, row.kind, row.low, row.high, row.unit, bias=0.0, error=0.0, carried=True, note="")
    training = {(arm, measure): facts[measure].high for arm in plan.arms for measure in measures}
    return judge(qualified_experiments(plan.spec), readings, training=training, instruments=facts, controls=plan.controls)


def make_report_input(plan: StudyPlan, verdicts: list[Verdict]) -> ReportInput:
    """Return a report of every verdict, with one strip of four rows of noise for each claim."""
    sections = []
    for name, experiment in plan.spec.experiments.items():
        cells = dict.fromkeys(claim.cell for claim in experiment.claims)
        strips = tuple(Strip(str(cell), cell.prompt, tuple(range(PICTURES_A_STRIP)), _rows(), (), "noise") for cell in cells)
        own = tuple(verdict for verdict in verdicts if verdict.experiment == name)
        sections.append(ExperimentSection(name=name, question=experiment.question, article="", verdicts=own, strips=strips))
    return ReportInput("benchmark", "", "quick", True, tuple(sections), (), (), (), (), _provenance())


def _rows() -> tuple[StripRow, ...]:
    rng = np.random.default_rng(0)
    return tuple(StripRow(label, tuple(_noise_picture(rng, label) for _ in range(PICTURES_A_STRIP))) for label in ("a", "b", "c", "d"))


def _noise_picture(rng: np.random.Generator, label: str) -> Picture:
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, "PNG")
    return Picture(out.getvalue(), label, label)


def _provenance() -> Provenance:
    stages = (StageTime("none", 0.0, ""),)
    return Provenance("0" * 64, "quick", "petri", "0" * 64, machine(), "cpu", 1, 0, "", "2026-01-01T00:00:00+00:00", stages, (), ())


def show_judging(bench: Bench, plan: StudyPlan, scratch: Path) -> None:
    """Show how long judging and reporting take for many readings."""
    measures = study_measures(plan.spec)
    readings = make_readings(plan, measures, READINGS // (10 if bench.options.quick else 1))
    judging, reporting = [], []
    for _ in range(bench.rounds):
        verdicts: list[Verdict] = []
        judging.append(bench.seconds(lambda verdicts=verdicts: verdicts.extend(judge_readings(plan, readings, measures))))
        given = make_report_input(plan, verdicts)
        reporting.append(bench.seconds(lambda given=given: write_report(given, scratch / "report" / "index.html")))
    judged, reported = statistics.median(judging), statistics.median(reporting)
    times = f"judging {judged:.2f} s, report {reported:.2f} s, both {judged + reported:.2f} s"
    line = f"{len(readings)} readings, {len(verdicts)} verdicts: {times}"
    bench.show(line, {"name": "judging and report", "readings": len(readings), "judging": judging, "reporting": reporting})


def show_store(bench: Bench, scratch: Path) -> None:
    """Show how long the store takes for one block of six pictures: key, publish (with every fsync), read back."""
    store, n = Store(scratch / "store"), 20 if bench.options.quick else 200
    picture = _noise_picture(np.random.default_rng(0), "").png

    def work() -> None:
        for index in range(n):
            key = artefact_key("benchmark", 1, {"index": index})
            with store.publish("benchmark", key, {"index": index}) as folder:
                for seed in range(6):
                    (folder / f"{seed:08d}.png").write_bytes(picture)
            store.manifest("benchmark", key)

    seconds = bench.seconds(work) / n
    bench.show(f"store: a block of six pictures {seconds * 1000:.1f} ms", {"name": "store", "seconds_a_block": seconds})


def main() -> None:
    """Show the shares, the judging of many readings, and the store's part."""
    parser = parser_of(__doc__)
    add_study_options(parser)
    with benching(parser) as bench, tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        plan = make_plan(chosen_study(bench.options).spec)
        show_judging(bench, plan, scratch)
        show_store(bench, scratch)
        show_shares(bench, scratch)


if __name__ == "__main__":
    main()

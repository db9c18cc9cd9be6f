"""Claim: the article's study takes a fraction of what its parts take with the tools that people use.

    python benchmarks/whole_study.py --diffusers DIFFUSERS_CHECKOUT [--packages DIR] [--study LAB/studies/article] [--quick]

The lab: `article`, `quick` budget, from an empty lab to the report (or the times of such a run, from its ledger). The peer: diffusers' own
training script once for each LoRA (one is measured and taken times their number), diffusers' pipeline over the same grid (some LoRAs are
measured and taken times the pictures), and the lab's own measuring, which has no counterpart there. The two take turns only in this sense:
each part is measured in this process or in its children, one after the other.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import drawing
import training
from study_seconds import add_study_options, chosen_study, study_seconds
from turns import Bench, Comparison, benching

from loralab.study.plan import StudyPlan, make_plan


def script_seconds(bench: Bench, plan: StudyPlan, scratch: Path) -> float:
    """Return the seconds of diffusers' script for every LoRA of the study."""
    bench.options.steps = plan.spec.train.steps
    work = training.Work(bench, plan.spec.train.batch, scratch)
    return statistics.median(work.script_seconds() for _ in range(bench.rounds)) * len(plan.runs) / training.N_ADAPTERS


def pipeline_seconds(bench: Bench, plan: StudyPlan, scratch: Path) -> float:
    """Return the seconds of diffusers' pipeline for every picture of the study."""
    grid = drawing.Grid(2 if bench.options.quick else 8, bench.options.device, scratch, bench.options.precision)
    pipeline = drawing.load_pipeline(grid.base)
    size = drawing.best_batch(bench, grid, pipeline, [8, 16, 32])
    seconds = statistics.median(bench.seconds(lambda: grid.draw_with_pipeline(pipeline, size)) for _ in range(bench.rounds))
    return seconds * plan.n_images / grid.n_images


def main() -> None:
    """Measure the peer's parts, then the study."""
    parser = training.parse()
    parser.description = __doc__
    add_study_options(parser)
    with benching(parser) as bench, tempfile.TemporaryDirectory() as folder:
        if bench.options.diffusers is None:
            parser.error("--diffusers names the checkout with the peer's training script")
        scratch, loaded = Path(folder), chosen_study(bench.options)
        plan = make_plan(loaded.spec)
        parts = {"training": script_seconds(bench, plan, scratch), "drawing": pipeline_seconds(bench, plan, scratch)}
        found = study_seconds(bench.options, loaded, scratch)
        parts["measuring"] = found.stages.get("measure", 0.0)
        for name, seconds in parts.items():
            bench.show(f"the peer's {name}: {seconds:.1f} s", {"name": name, "peer_seconds": seconds})
        note = f"the peer from {bench.rounds} LoRAs trained and a few drawn, scaled to {len(plan.runs)} LoRAs and {plan.n_images} pictures"
        whole = Comparison(f"article, {loaded.preset}", "script, pipeline and measuring", [sum(parts.values())], [found.wall], note)
        bench.show(whole.line(), {"name": whole.name, "peer_seconds": whole.peer_seconds, "lab_seconds": whole.lab_seconds})


if __name__ == "__main__":
    main()

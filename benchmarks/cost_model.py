"""Claim: `--plan` says within 25 % what a study then takes, after a calibration of seconds.

    python benchmarks/cost_model.py [--study LAB/studies/article] [--quick]

Predicts the article's study (`quick`) as `loralab run article --quick --plan` does, runs it from an empty lab (or reads the times of such a
run from its ledger, if the machine was as idle then as it is now), and prints both, stage by stage.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from study_seconds import add_study_options, chosen_study, study_seconds
from turns import Bench, benching, parser_of

from loralab.engine.estimate import describe_plan

ALLOWED = 0.25


def show(bench: Bench, name: str, predicted: float, measured: float) -> None:
    """Show one stage's prediction beside its measurement."""
    off = predicted / measured - 1 if measured else 0.0
    line = f"{name:24} predicted {predicted:8.1f} s   measured {measured:8.1f} s   off by {off:+.0%}"
    bench.show(line, {"name": name, "predicted_seconds": predicted, "measured_seconds": measured})


def main() -> None:
    """Predict, run, compare."""
    parser = parser_of(__doc__)
    add_study_options(parser)
    with benching(parser) as bench, tempfile.TemporaryDirectory() as folder:
        scratch, loaded = Path(folder), chosen_study(bench.options)
        described: list[dict[str, float]] = []
        seconds = bench.seconds(lambda: described.append(describe_plan(loaded, scratch / "lab", calibrate=True)["cost"]))
        cost = described[0]
        bench.show(f"the prediction itself took {seconds:.1f} s", {"name": "calibration", "seconds": seconds})
        found = study_seconds(bench.options, loaded, scratch)
        show(bench, "training", 60 * cost["train_minutes"], found.training)
        show(bench, "drawing", 60 * cost["draw_minutes"], found.drawing)
        rest = 60 * (cost["minutes"] - cost["train_minutes"] - cost["draw_minutes"])
        show(bench, "all the rest", rest, found.wall - found.training - found.drawing)
        show(bench, "all", 60 * cost["minutes"], found.wall)
        verdict = "within" if abs(60 * cost["minutes"] / found.wall - 1) <= ALLOWED else "not within"
        print(f"{verdict} {ALLOWED:.0%}")


if __name__ == "__main__":
    main()

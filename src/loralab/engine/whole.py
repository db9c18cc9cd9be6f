"""One call for a whole study: a loaded study in; readings, verdicts and a report on disk, and their summary, out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loralab.engine.events import Event, StageClock
from loralab.engine.judging import judge_study
from loralab.engine.local import StudyRun, carry_out, open_study
from loralab.engine.reporting import report_input
from loralab.infer.verdict import Verdict
from loralab.report import write_report
from loralab.report.summary import write_summary
from loralab.spec.load import Loaded, preset_of
from loralab.store import append_line, disk_errors

GATE_CODES = {"supported": 0, "contradicted": 10, "leaning": 11, "open": 11, "not_measurable": 12}


@dataclass(frozen=True)
class Outcome:
    """What a study came to."""

    study: str
    preset: str
    verdicts: tuple[Verdict, ...]
    report: Path
    stage_seconds: dict[str, float]
    wall_seconds: float
    first_pictures_seconds: float | None
    n_images: int
    n_runs: int
    failures: dict[str, str]

    def gate_code(self) -> int:
        """Return the exit code for `--gate`: the worst verdict's on what was asked before the first run, 0 if all is as claimed."""
        return max((GATE_CODES[verdict.verdict] for verdict in self.verdicts if not verdict.exploratory), default=0)


def run_study(loaded: Loaded, lab: Path, listen: Callable[[Event], None]) -> Outcome:
    """Carry the study out, judge it, write its report; what is already in the store is not made again.

    Raises LabError; what was finished before stays in the store, and the same call goes on from there.
    """
    clock = StageClock()
    run = open_study(loaded, lab, clock)
    for event in carry_out(run):
        listen(event)
    verdicts = judge_study(run) if preset_of(loaded).verdicts else []
    listen(Event("report", 0, 1))
    with clock.stage("write the report"), disk_errors("writing the report"):
        gathered = report_input(run, verdicts)
        page = write_report(gathered, run.folder / "report" / "index.html")
        write_summary(gathered, run.folder / "summary")
    listen(Event("report", 1, 1, path=str(page)))
    outcome = _outcome(run, verdicts, page)
    seconds = {stage: round(value, 3) for stage, value in clock.seconds.items()}
    foretold = {stage: round(value, 3) for stage, value in clock.foretold.items()}
    append_line(run.ledger, {
        "event": "finished", "attempt": run.attempt, "stage_seconds": seconds, "foretold_seconds": foretold,
        "wall_seconds": round(clock.total_seconds, 3),
    })  # fmt: skip
    return outcome


def _outcome(run: StudyRun, verdicts: list[Verdict], page: Path) -> Outcome:
    return Outcome(
        study=run.plan.spec.study, preset=run.loaded.preset or "none", verdicts=tuple(verdicts), report=page,
        stage_seconds=dict(run.clock.seconds), wall_seconds=run.clock.total_seconds,
        first_pictures_seconds=run.clock.first_pictures_seconds, n_images=run.plan.n_images, n_runs=len(run.plan.runs),
        failures={str(source): reason for source, reason in run.failures.items()},
    )  # fmt: skip

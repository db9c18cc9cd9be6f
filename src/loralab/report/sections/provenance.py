"""From what, with what and when a study was made, and what makes it again."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from markupsafe import Markup

from loralab import __version__
from loralab.report.input import Provenance, ReportInput, StageTime
from loralab.report.lookup import base_name
from loralab.report.shell import render
from loralab.report.words import duration
from loralab.spec import BASE
from loralab.spec.load import preset_of, run_name
from loralab.spec.questions import run_sentence
from loralab.study.result import StudyResult

VERSIONS_SHOWN = ("torch", "diffusers", "transformers", "safetensors", "numpy", "scipy", "scikit-image", "polars")


def show(report: ReportInput, columns: int) -> Markup:
    """Return where the report comes from and how it is made again."""
    return render("sections/provenance.html.j2", report=report, base=base_name(report))


def provenance_of(result: StudyResult) -> Provenance:
    """Return from what, with what and when the study was made; of the last attempt that was finished."""
    records, loaded, n_seeds = result.records, result.loaded, result.spec.sample.seeds
    started = [record for record in records if record["event"] == "started"]
    last = result.finished
    asked = preset_of(loaded).verdicts
    return Provenance(
        study_sha256=loaded.sha256, preset=loaded.preset or "none", base=base_names(result), base_sha256=result.bases_sha256,
        versions=last.get("versions", {}), device=last.get("device", ""), threads=last.get("threads", 0), root_seed=result.spec.seed,
        seeds_rule=f"training r of every arm, and the base with it, draw seeds r*{n_seeds} to r*{n_seeds}+{n_seeds - 1} "
        "(r counts from 0)",
        started=str(started[-1]["at"]), stages=tuple(_stages(last)), attempts=tuple(_attempts(started, records)),
        run_says=run_sentence(records, loaded.sha256, result.bases_sha256) if asked else "",
        commands=(" ".join(["loralab run", run_name(loaded), *_options(result)]),),
    )  # fmt: skip


def _stages(last: Mapping[str, Any]) -> Iterator[StageTime]:
    foretold = last.get("foretold_seconds", {})
    for stage, seconds in last.get("stage_seconds", {}).items():
        yield StageTime(stage, seconds, f"estimated from its first part: {duration(foretold[stage])}" if stage in foretold else "")
    if last.get("first_pictures_seconds") is not None:
        yield StageTime("first pictures after", last["first_pictures_seconds"], "part of the above")
    if "wall_seconds" in last:
        yield StageTime("everything, until this page was written", last["wall_seconds"], "results already in the lab took no time")


def base_names(result: StudyResult) -> str:
    """Return what the bases of a study are called."""
    return "; ".join(base.name if source == BASE else f"{source}: {base.name}" for source, base in result.bases.items())


def _options(result: StudyResult) -> list[str]:
    """Return the options by which the same question is asked again."""
    return [*([f"--{result.loaded.preset}"] if result.loaded.preset else []), *result.loaded.options]


def _attempts(started: Sequence[Mapping[str, object]], records: Sequence[Mapping[str, object]]) -> Iterator[str]:
    finished = {record["attempt"] for record in records if record["event"] == "finished"}
    first = str(started[0]["study_sha256"])
    for record in started:
        state = "finished" if record["attempt"] in finished else "this one, or interrupted"
        changed = "" if record["study_sha256"] == first else ", with a different study or budget from the first attempt"
        what = f"preset {record['preset']}, study {str(record['study_sha256'])[:12]}"
        yield f"attempt {record['attempt']}, {record['at']}, {what}: {state}{changed}"


def versions() -> dict[str, str]:
    """Return the versions of this installation and its libraries."""
    found = {"loralab": __version__, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in VERSIONS_SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
